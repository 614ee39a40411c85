"""Write training pairs made from clear-day frames."""

import dataclasses
import logging
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from gen.augan.simulated.murk import make_fog, make_rain
from gen.augan.simulated.night import make_night
from gen.augan.simulated.settings import SimulateSettings, Weather
from gen.errors import BadInput, BadSetting
from gen.media import preview
from gen.media.files import fit_name, make_out_folder
from gen.media.folders import find_stills, stamp_of
from gen.media.images import Still, at_rows, decode_still, encode_still
from gen.media.mark import source_id
from gen.media.resize import to_chw, to_float, to_uint8
from gen.smd.writing import begin, check_seed, is_whole, is_written, run_jobs

log = logging.getLogger(__name__)

SIMULATIONS: dict[Weather, Callable[[Tensor, int], Tensor]] = {"night": make_night, "fog": make_fog, "rain": make_rain}
"""Weather -> function of a day frame (3, H, W) in [-1, 1] and a seed that returns the same scene in that weather."""
PREVIEW_DAYS = 3
"""Day frames in a preview."""


@dataclasses.dataclass(frozen=True)
class Day:
    """One day frame for which to make adverse frames."""

    path: Path
    name: str
    """Of its files in `out`, without the suffix. It keeps the old one, because a folder may hold a.png and a.jpg."""
    settings: SimulateSettings

    @property
    def file(self) -> str:
        """Name of its files in `out`."""
        return fit_name(self.name, ".jpg")


def write_pairs(settings: SimulateSettings) -> tuple[int, list[str]]:
    """Write all missing pairs; returns the number of day frames in `out`, and an error for each missing one.

    Raises `BadInput` for a folder without images, and `BadSetting` for invalid settings and for an `out` that holds
    frames made with other settings.
    """
    days = find_days(settings)
    folders = [settings.out / "day", *(round_folder(settings, r) for r in range(settings.rounds))]
    begin(settings.out, {"weather": settings.weather, "rows": settings.rows, "seed": settings.seed}, folders)
    for folder in folders:
        make_out_folder(folder)
    files = [(day, settings.out / "day" / day.file) for day in days]
    if replaced := [file.name for day, file in files if is_written(file) and not _is_made(day, file)]:
        log.warning(  # the days of another folder may be numbered alike
            f"{settings.out}: {len(replaced)} of its days were made of other pictures than those of their names "
            f"in {settings.days}, which replace them where they can be read, for example {replaced[0]}"
        )
    run_jobs(write_day, days, settings.workers, len(days), "day")
    broken = [why for day in days if (why := _why_missing(day))]
    return len(days) - len(broken), broken


def count_pairs(settings: SimulateSettings) -> tuple[int, int]:
    """Days and adverse frames that `out` holds, those of earlier runs included, as training reads them."""
    days, frames = (len(find_stills(settings.out / name, quiet=True)) for name in ("day", "adverse"))
    return days, frames


def find_days(settings: SimulateSettings, quiet: bool = False) -> list[Day]:
    """The day frames, each with its name in `out`; `quiet`: without a warning about other files.

    Raises as `write_pairs` does.
    """
    if settings.rounds < 1 or settings.rows < 64:
        raise BadSetting(f"rounds must be at least 1 and rows at least 64, not {settings.rounds} and {settings.rows}.")
    check_seed(settings.seed)
    if not settings.days.is_dir():
        raise BadInput(f"{settings.days}: no such folder.")
    if settings.out.resolve().is_relative_to(settings.days.resolve()):
        raise BadSetting(
            f"out: {settings.out} is inside {settings.days}, so its frames would be read as days; choose another one."
        )
    paths = find_stills(settings.days, quiet)
    if not paths:
        raise BadInput(f"{settings.days}: no images found; it needs jpg, png, webp, bmp or tiff files.")
    names = [p.relative_to(settings.days).as_posix() for p in paths]
    flat = [name.replace("/", "__") for name in names]
    twice = {name for name, count in Counter(flat).items() if count > 1}  # a/b.jpg and a__b.jpg
    unique = [f"{f}~{zlib.crc32(os.fsencode(n)):08x}" if f in twice else f for n, f in zip(names, flat, strict=True)]
    return [Day(path, name, settings) for path, name in zip(paths, unique, strict=True)]


def write_preview(settings: SimulateSettings) -> Path:
    """Write an image of the first days, each above its simulations; returns its path."""
    days = find_days(settings)[:PREVIEW_DAYS]
    frames = [_decoded(day).rgb for day in days]
    height, width = (min(f.shape[side] for f in frames) for side in (0, 1))
    cut = [f[:height, :width] for f in frames]
    rows = [cut, *([_simulated(f, w, day, 0) for f, day in zip(cut, days, strict=True)] for w in SIMULATIONS)]
    return preview.write_preview(settings.out, np.concatenate([np.concatenate(row, axis=1) for row in rows]))


def round_folder(settings: SimulateSettings, number: int) -> Path:
    """Folder of the adverse frames of one round."""
    return settings.out / "adverse" / str(number)


def write_day(day: Day) -> int:
    """Write a day frame and its adverse frames, unless all exist or it is unreadable; returns 1 for `run_jobs`."""
    s = day.settings
    adverse = [round_folder(s, r) / day.file for r in range(s.rounds)]
    if all(_is_made(day, path) for path in (s.out / "day" / day.file, *adverse)):
        return 1
    stamp = stamp_of(day.path)
    source = f"; source {source_id(stamp)}" if stamp else ""
    try:
        frame = _decoded(day)
    except BadInput:
        return 1  # `write_pairs` reports it after all others are written
    for path in (s.out / "adverse").glob("*/"):  # a run with more rounds left frames of the day that was there
        if path / day.file not in adverse and not _is_made(day, path / day.file):
            (path / day.file).unlink(missing_ok=True)
    for number, path in enumerate(adverse):
        mark = f"gen: clear day with simulated {s.weather}{source}"
        encode_still(path, dataclasses.replace(frame, rgb=_simulated(frame.rgb, s.weather, day, number)), mark=mark)
    # Last, so that its presence means that the pair is complete.
    encode_still(s.out / "day" / day.file, frame, mark=f"gen: clear day{source}")
    return 1


def _is_made(day: Day, path: Path) -> bool:
    """Whether the file at `path` was made of the day frame as it is now, and not of another one of the same name."""
    if not is_whole(path):
        return False
    stamp = stamp_of(day.path)
    if stamp is None:
        return True  # it has vanished; what was made of it is kept
    try:
        with Image.open(path) as image:
            text = str(image.getexif().get(ExifTags.Base.ImageDescription, ""))
    except OSError:
        return False
    if found := re.search("; source ([0-9a-f]{8})$", text):
        return found[1] == source_id(stamp)
    return stamp.mtime_ns <= path.stat().st_mtime_ns  # of version 0.1, whose marks name no source


def _simulated(frame: NDArray[np.uint8], weather: Weather, day: Day, number: int) -> NDArray[np.uint8]:
    """The adverse frame (H, W, 3) of one round."""
    name = day.name.encode(errors="surrogateescape")  # a name need not be UTF-8
    return simulate_frame(frame, weather, seed=zlib.crc32(f"{day.settings.seed} {number} ".encode() + name))


def simulate_frame(frame: NDArray[np.uint8], weather: Weather, seed: int) -> NDArray[np.uint8]:
    """Day frame (H, W, 3) uint8 -> the same scene in that weather."""
    image = to_float(to_chw(frame))
    return to_uint8(SIMULATIONS[weather](image, seed)[None])[0].permute(1, 2, 0).numpy()


def _decoded(day: Day) -> Still:
    """The day frame, reduced to at most `rows` rows, with the colour profile of its pixels and nothing else.

    Raises `BadInput` if it cannot be read, or is too narrow for the filters of the simulations.
    """
    still = decode_still(day.path)
    rgb = at_rows(still.rgb, min(day.settings.rows, len(still.rgb)))
    height, width = rgb.shape[:2]
    if width <= max(1, height // 16):
        raise BadInput(f"{day.path}: {width} columns for {height} rows are too narrow to simulate weather in.")
    return Still(rgb, icc=still.icc)


def _why_missing(day: Day) -> str:
    """Why a day frame was not written; empty if it was."""
    if _is_made(day, day.settings.out / "day" / day.file):
        return ""
    try:
        _decoded(day)
    except BadInput as error:
        return str(error)
    return f"{day.path}: not written; run the command again."
