"""Settings of `gen simulate-weather`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

Weather = Literal["night", "fog", "rain"]


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """Simulate night, fog or rain on clear-day frames, to make training pairs (use with --set simulated=OUT).

    Run the same command again to resume.
    """

    days: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IN")]
    """Folder of clear-day frames; sub-folders are included."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Output folder: day/ and, for each round, adverse/ROUND/, with equal file names."""
    weather: Weather = "night"
    """Weather to simulate."""
    rounds: int = 2
    """Number of different adverse frames per day frame."""
    rows: int = 288
    """Maximum height in pixels; larger frames are reduced to it."""
    seed: int = 0
    """Random seed."""
    workers: int | None = None
    """Number of processes. Default: one per core."""
    preview: bool = False
    """Only write OUT/preview.jpg, which shows the first days in every weather."""
