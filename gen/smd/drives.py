"""Frames and clips of streets on disk: every adverse picture with its clear day, depth and labels."""

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image

from gen.errors import BadSetting
from gen.media.files import writing
from gen.media.images import Still, decode_still, encode_still
from gen.media.video import write_clip
from gen.smd.writing import begin, check_seed, make_folder, run_jobs

WeatherName = Literal["day", "dusk", "night", "rain", "rainy_night", "fog", "snow"]
FRAME_RATE = 30
FARTHEST = 655.35
"""Metres: the largest depth that 16 bits of centimetres hold; the sky has 0."""


@dataclasses.dataclass(frozen=True)
class StreetSettings:
    """Render dash-cam frames or clips of made-up streets, each under adverse weather and on the same clear day."""

    out: tyro.conf.Positional[Path]
    """Folder that gets day/, adverse/WEATHER/, depth/ (16-bit PNG, centimetres, 0 = sky) and labels/ (PNG)."""
    weather: tuple[WeatherName, ...] = ("rainy_night",)
    """Weathers that every frame is rendered under, beside the day."""
    frames: int = 100
    """Frames; each is of another street, unless --clip."""
    clip: bool = False
    """One street, and a drive along it, 30 frames a second."""
    size: str = "640x360"
    """Width x height in pixels."""
    seed: int = 0
    """Number of the first street; the others follow."""
    samples: int = 2
    """Rays a pixel each way: more is smoother and slower."""
    depth: bool = True
    """Write depth and labels too."""
    preview: bool = False
    """Only write OUT/preview.jpg: the first street under every weather, and its depth."""
    workers: int | None = None
    """Processes; none: one a core."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the rays are cast."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """One frame to be written."""

    seed: int
    time: float
    name: str
    settings: StreetSettings


def render_drives(settings: StreetSettings) -> list[Path]:
    """Write what is asked for and is not there yet; returns the clips or the folders of frames.

    Raises `BadSetting` for settings that make no sense and for a folder that holds other settings' frames.
    """
    width, height = parse_size(settings.size)
    if settings.frames < 1 or settings.samples < 1:
        raise BadSetting("frames and samples: at least 1 is needed.")
    check_seed(settings.seed)
    if settings.clip and (width % 2 or height % 2):
        raise BadSetting(f"size={settings.size}: a clip needs even sides.")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise BadSetting("device=cuda: torch sees no CUDA device here; use device=cpu.")
    if settings.preview:
        make_folder(settings.out)
        path = settings.out / "preview.jpg"
        encode_still(path, Still(contact_sheet(settings)))
        return [path]
    frames = {f"frames of clip {settings.seed}": settings.frames} if settings.clip else {}
    begin(settings.out, {"size": settings.size, "samples": settings.samples} | frames)
    weathers = ["day", *(w for w in settings.weather if w != "day")]
    if settings.clip:
        name = f"{settings.seed:06d}"
        moments = [Moment(settings.seed, i / FRAME_RATE, f"{name}/{i:05d}", settings) for i in range(settings.frames)]
    else:
        moments = [_still(settings.seed + i, settings) for i in range(settings.frames)]
    folders = [weather_folder(settings.out, w) for w in weathers]
    for folder in {*folders, *((settings.out / "depth", settings.out / "labels") if settings.depth else ())}:
        make_folder(folder / f"{settings.seed:06d}" if settings.clip else folder)
    clips = [folder / f"{settings.seed:06d}.mp4" for folder in folders]
    if not (settings.clip and all(clip.exists() for clip in clips)):
        run_jobs(write_moment, moments, settings.workers, len(moments), "frame")
    if not settings.clip:
        return folders
    return [_join_clip(folder, f"{settings.seed:06d}", settings.frames) for folder in folders]


def contact_sheet(settings: StreetSettings) -> NDArray[np.uint8]:
    """The first street under every weather and its depth (near is dark), two in a row."""
    from gen.smd.street import make_street
    from gen.smd.weather import WEATHERS, render_street

    width, height = parse_size(settings.size)
    moment = _still(settings.seed, settings)
    street = make_street(moment.seed)
    frame = render_street(street, moment.time, list(WEATHERS), height, width, settings.samples, settings.device)
    depth = (frame.depth.clamp(max=100) * 2.55).byte()[None].expand(3, -1, -1)
    cells = [cell.permute(1, 2, 0).cpu().numpy() for cell in (*frame.images.values(), depth)]
    return np.concatenate([np.concatenate(cells[i : i + 2], 1) for i in range(0, len(cells), 2)])


def parse_size(size: str) -> tuple[int, int]:
    """ "640x360" -> (640, 360). Raises `BadSetting` for anything else."""
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size)
    if not match:
        raise BadSetting(f"size={size!r}: give width and height in pixels, as in 640x360.")
    return int(match[1]), int(match[2])


def weather_folder(out: Path, weather: str) -> Path:
    """Where the pictures of a weather go: day beside adverse/WEATHER."""
    return out / "day" if weather == "day" else out / "adverse" / weather


def _still(seed: int, settings: StreetSettings) -> Moment:
    time = float(np.random.default_rng([seed, 5]).uniform(0, 6))
    return Moment(seed, time, f"{seed:06d}", settings)


def write_moment(moment: Moment) -> int:
    """Render one moment and write its pictures, unless all are there; returns 1."""
    s = moment.settings
    suffix = "png" if s.clip else "jpg"  # a clip is encoded once, from frames without loss
    weathers = ["day", *(w for w in s.weather if w != "day")]
    paths = {w: weather_folder(s.out, w) / f"{moment.name}.{suffix}" for w in weathers}
    extras = [s.out / kind / f"{moment.name}.png" for kind in ("depth", "labels")] if s.depth else []
    if all(path.exists() for path in (*paths.values(), *extras)):
        return 1
    from gen.smd.street import make_street
    from gen.smd.weather import render_street

    width, height = parse_size(s.size)
    frame = render_street(make_street(moment.seed), moment.time, weathers, height, width, s.samples, s.device)
    for weather, path in paths.items():
        encode_still(
            path, Still(frame.images[weather].permute(1, 2, 0).cpu().numpy()), mark=f"gen: rendered, {weather}"
        )
    if s.depth:
        depth, labels = frame.depth.cpu().numpy(), frame.labels.cpu().numpy()
        centimetres = np.where(np.isfinite(depth), np.minimum(depth, FARTHEST) * 100, 0).round().astype(np.uint16)
        _write_map(extras[0], centimetres)
        _write_map(extras[1], labels)
    return 1


def _write_map(path: Path, values: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    with writing(path) as partial:
        Image.fromarray(values).save(partial)


def _join_clip(folder: Path, name: str, count: int) -> Path:
    """Encode the frames `folder`/`name`/*.png as `folder`/`name`.mp4, and remove them."""
    path, frames = folder / f"{name}.mp4", [folder / name / f"{i:05d}.png" for i in range(count)]
    if not path.exists():
        pictures = (decode_still(frame).rgb for frame in frames)
        write_clip(path, pictures, FRAME_RATE)
    shutil.rmtree(folder / name, ignore_errors=True)
    return path
