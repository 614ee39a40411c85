"""Frames and clips of streets on disk: every adverse picture with its clear day, depth and labels."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.devices import pick_device
from gen.media.files import make_out_folder, writing
from gen.media.images import Still, decode_still, encode_still
from gen.media.preview import write_preview
from gen.media.video import write_clip
from gen.sizes import parse_size
from gen.smd.street.render import render_street
from gen.smd.street.settings import FRAME_RATE, StreetSettings
from gen.smd.street.street import make_street
from gen.smd.street.weather import WEATHERS
from gen.smd.writing import begin, is_whole, is_written, run_jobs

FARTHEST = 655.35
"""Metres: the largest depth that 16 bits of centimetres hold; the sky has 0."""
PREVIEWED_DEPTH = 100
"""Metres that the depth picture of a preview shows; what is farther is white."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """One frame to be written."""

    seed: int
    """Of the street."""
    time: float
    """Seconds after the start of the drive."""
    name: str
    """Of its files, without folder and suffix."""
    settings: StreetSettings


def render_drives(settings: StreetSettings) -> list[Path]:
    """Write the frames that are asked for and missing; returns the clips, or the folders of frames.

    Raises `BadSetting` for settings that make no sense, and for a folder that holds frames with other settings.
    """
    settings.check()
    s = dataclasses.replace(settings, device=str(pick_device(settings.device)))
    if s.preview:
        return [write_preview(s.out, contact_sheet(s))]
    # The length of a clip is part of the record: its video cannot be made longer later.
    frames = {f"frames of clip {s.seed}": s.frames} if s.clip else {}
    folders = [weather_folder(s.out, weather) for weather in s.all_weathers()]
    there = any((folder / f"{s.seed:06d}.mp4").exists() for folder in folders)  # then the record must tell its length
    record = {"size": s.size, "samples": s.samples} | (frames if there else {})
    begin(s.out, record, folders, {} if there else frames)
    return _render_clips(s) if s.clip else _render_frames(s)


def _render_frames(settings: StreetSettings) -> list[Path]:
    """One frame of each of many streets; returns the folders."""
    folders = _make_folders(settings, "")
    moments = [_still(settings.seed + i, settings) for i in range(settings.frames)]
    run_jobs(write_moment, moments, settings.workers, len(moments), "frame", settings.device)
    return folders


def _render_clips(settings: StreetSettings) -> list[Path]:
    """A drive along one street, one clip a weather; returns the clips."""
    s, name = settings, f"{settings.seed:06d}"
    folders = _make_folders(s, name)
    moments = [Moment(s.seed, i / FRAME_RATE, f"{name}/{i:05d}", s) for i in range(s.frames)]
    maps = [path for moment in moments for path in _maps_of(moment)]  # which an earlier run may not have been asked for
    if not all(is_written(path) for path in (*(folder / f"{name}.mp4" for folder in folders), *maps)):
        run_jobs(write_moment, moments, s.workers, len(moments), "frame", s.device)
    return [
        _join_clip(folder, name, s.frames, rendered(w)) for w, folder in zip(s.all_weathers(), folders, strict=True)
    ]


def _make_folders(settings: StreetSettings, name: str) -> list[Path]:
    """Make all folders, with a folder `name` in each; returns those of the weathers."""
    folders = [weather_folder(settings.out, w) for w in settings.all_weathers()]
    extras = [settings.out / "depth", settings.out / "labels"] if settings.depth else []
    for folder in (*folders, *extras):
        make_out_folder(folder / name)
    return folders


def contact_sheet(settings: StreetSettings) -> NDArray[np.uint8]:
    """The first street in every weather and its depth (near is dark), two pictures a row."""
    width, height = parse_size(settings.size)
    moment = _still(settings.seed, settings)
    street = make_street(moment.seed)
    frame = render_street(street, moment.time, list(WEATHERS), height, width, settings.samples, settings.device)
    depth = (frame.depth.clamp(max=PREVIEWED_DEPTH) * (255 / PREVIEWED_DEPTH)).byte()[None].expand(3, -1, -1)
    cells = [cell.permute(1, 2, 0).cpu().numpy() for cell in (*frame.images.values(), depth)]
    return np.concatenate([np.concatenate(cells[i : i + 2], 1) for i in range(0, len(cells), 2)])


def weather_folder(out: Path, weather: str) -> Path:
    """Folder of a weather's pictures: day, or adverse/WEATHER."""
    return out / "day" if weather == "day" else out / "adverse" / weather


def _still(seed: int, settings: StreetSettings) -> Moment:
    """A moment of the first 6 seconds of a street's drive: time differs, so that not all frames show its start."""
    time = float(np.random.default_rng([seed, 5]).uniform(0, 6))
    return Moment(seed, time, f"{seed:06d}", settings)


def write_moment(moment: Moment) -> int:
    """Render one moment and write its pictures, unless all exist; returns 1."""
    s = moment.settings
    suffix = "png" if s.clip else "jpg"  # PNG has no loss: a clip is compressed only once, as video
    weathers = s.all_weathers()
    paths = {w: weather_folder(s.out, w) / f"{moment.name}.{suffix}" for w in weathers}
    extras = _maps_of(moment)
    if all(is_whole(path) for path in (*paths.values(), *extras)):
        return 1
    width, height = parse_size(s.size)
    frame = render_street(make_street(moment.seed), moment.time, weathers, height, width, s.samples, s.device)
    for weather, path in paths.items():
        picture = frame.images[weather].permute(1, 2, 0).cpu().numpy()
        encode_still(path, Still(picture), mark=rendered(weather))
    if s.depth:
        _write_map(extras[0], to_centimetres(frame.depth.cpu().numpy()))
        _write_map(extras[1], frame.labels.cpu().numpy())
    return 1


def _maps_of(moment: Moment) -> list[Path]:
    """The files of a moment's depth and labels, if the settings ask for them."""
    s = moment.settings
    return [s.out / kind / f"{moment.name}.png" for kind in ("depth", "labels")] if s.depth else []


def to_centimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth (H, W) in metres -> centimetres; the sky, which is infinitely far, gets 0."""
    return np.where(np.isfinite(depth), np.minimum(depth, FARTHEST) * 100, 0).round().astype(np.uint16)


def _write_map(path: Path, values: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    with writing(path) as partial:
        Image.fromarray(values).save(partial)


def rendered(weather: str) -> str:
    """What pictures and clips of a weather say of themselves."""
    return f"gen: rendered, {weather}"


def _join_clip(folder: Path, name: str, count: int, mark: str) -> Path:
    """Encode the frames `folder`/`name`/*.png as `folder`/`name`.mp4, and remove them."""
    path, frames = folder / f"{name}.mp4", [folder / name / f"{i:05d}.png" for i in range(count)]
    if not is_whole(path):
        pictures = (decode_still(frame).rgb for frame in frames)
        write_clip(path, pictures, FRAME_RATE, mark)
    shutil.rmtree(folder / name, ignore_errors=True)
    return path
