"""Pairs to train on, made from real clear days alone."""

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gen.augan.simulated.murk import make_fog, make_rain
from gen.augan.simulated.night import make_night
from gen.augan.simulated.settings import SimulateSettings, Weather
from gen.errors import BadInput, BadSetting
from gen.media.files import make_out_folder
from gen.media.folders import find_stills
from gen.media.images import Still, at_rows, decode_still, encode_still
from gen.media.resize import to_chw, to_float, to_uint8
from gen.smd.writing import begin, check_seed, run_jobs

SIMULATIONS: dict[Weather, Callable[[Tensor, int], Tensor]] = {"night": make_night, "fog": make_fog, "rain": make_rain}
"""Day frame (3, H, W) in [-1, 1] and a seed -> the same place in that weather."""
PREVIEWED = 3
"""Days in a preview."""


@dataclasses.dataclass(frozen=True)
class Day:
    """One frame whose adverse counterparts are to be made."""

    path: Path
    name: str
    settings: SimulateSettings


def write_pairs(settings: SimulateSettings) -> tuple[int, list[str]]:
    """Write what is not there yet; returns how many days there are, and why each of the others is not.

    Raises `BadInput` for a folder without images, and `BadSetting` for settings that make no sense and for an `out`
    that holds the frames of others.
    """
    days = find_days(settings)
    begin(settings.out, {"weather": settings.weather, "rows": settings.rows, "seed": settings.seed})
    for folder in (settings.out / "day", *(round_folder(settings, r) for r in range(settings.rounds))):
        make_out_folder(folder)
    run_jobs(write_day, days, settings.workers, len(days), "day")
    broken = [why for day in days if (why := _why_missing(day))]
    return len(days) - len(broken), broken


def find_days(settings: SimulateSettings) -> list[Day]:
    """The frames, each with the name that it has in `out`."""
    if settings.rounds < 1 or settings.rows < 64:
        raise BadSetting(f"rounds={settings.rounds}, rows={settings.rows}: 1 round and 64 rows are the least.")
    check_seed(settings.seed)
    if not settings.days.is_dir():
        raise BadInput(f"{settings.days}: there is no such folder.")
    if settings.out.resolve().is_relative_to(settings.days.resolve()):
        raise BadSetting(f"{settings.out} lies in {settings.days}: its frames would be taken for days; choose another.")
    paths = find_stills(settings.days)
    if not paths:
        raise BadInput(f"{settings.days}: no images here; jpg, png, webp, bmp or tiff files are needed.")
    return [Day(p, p.relative_to(settings.days).as_posix().replace("/", "__"), settings) for p in paths]


def write_preview(settings: SimulateSettings) -> Path:
    """A picture of the first days, each above its counterparts; returns its path."""
    days = find_days(settings)[:PREVIEWED]
    frames = [_decoded(day) for day in days]
    height, width = (min(f.shape[side] for f in frames) for side in (0, 1))
    cut = [f[:height, :width] for f in frames]
    rows = [cut, *([_simulated(f, w, day, 0) for f, day in zip(cut, days, strict=True)] for w in SIMULATIONS)]
    make_out_folder(settings.out)
    path = settings.out / "preview.jpg"
    encode_still(path, Still(np.concatenate([np.concatenate(row, axis=1) for row in rows])))
    return path


def round_folder(settings: SimulateSettings, number: int) -> Path:
    """Where the adverse frames of one round go."""
    return settings.out / "adverse" / str(number)


def write_day(day: Day) -> int:
    """Write a frame and its counterparts, unless all are there or it cannot be read; returns 1."""
    s = day.settings
    file = f"{day.name}.jpg"  # the old suffix stays in the name: a.png and a.jpg may lie in one folder
    counterparts = [round_folder(s, r) / file for r in range(s.rounds)]
    if all(path.exists() for path in (s.out / "day" / file, *counterparts)):
        return 1
    try:
        frame = _decoded(day)
    except BadInput:
        return 1  # it is told at the end, when every other is there
    for number, path in enumerate(counterparts):
        encode_still(path, Still(_simulated(frame, s.weather, day, number)), mark=f"gen: a day made {s.weather}")
    encode_still(s.out / "day" / file, Still(frame))
    return 1


def _simulated(frame: NDArray[np.uint8], weather: Weather, day: Day, number: int) -> NDArray[np.uint8]:
    """The counterpart of this number of a day's frame (H, W, 3)."""
    return simulate_frame(frame, weather, seed=zlib.crc32(f"{day.settings.seed} {number} {day.name}".encode()))


def simulate_frame(frame: NDArray[np.uint8], weather: Weather, seed: int) -> NDArray[np.uint8]:
    """Day frame (H, W, 3) -> the same in that weather."""
    image = to_float(to_chw(frame))
    return to_uint8(SIMULATIONS[weather](image, seed)[None])[0].permute(1, 2, 0).numpy()


def _decoded(day: Day) -> NDArray[np.uint8]:
    """The day's frame (H, W, 3), no larger than asked for."""
    rgb = decode_still(day.path).rgb
    return at_rows(rgb, min(day.settings.rows, len(rgb)))


def _why_missing(day: Day) -> str:
    """Why a day was not written; empty where it was."""
    if (day.settings.out / "day" / f"{day.name}.jpg").exists():
        return ""
    try:
        decode_still(day.path)
    except BadInput as error:
        return str(error)
    return f"{day.path}: it was not written."
