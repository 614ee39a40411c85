"""Settings of `gen simulate-weather`."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

Weather = Literal["night", "fog", "rain"]


@dataclasses.dataclass(frozen=True)
class SimulateSettings:
    """Turn clear-day frames into night, fog or rain, as pairs to train a translator on (--set simulated=OUT).

    Run the same command again to add what is missing.
    """

    days: tyro.conf.Positional[Path]
    """Folder of clear day frames, in sub-folders or not."""
    out: tyro.conf.Positional[Path]
    """Folder that gets day/ and, for every round, adverse/ROUND/, with equal names."""
    weather: Weather = "night"
    """Weather to simulate."""
    rounds: int = 2
    """Adverse frames of each day, all different."""
    rows: int = 288
    """Height in pixels; larger frames are made smaller."""
    seed: int = 0
    """Seed of everything random."""
    workers: int | None = None
    """Processes; none: one a core."""
    preview: bool = False
    """Only write OUT/preview.jpg: the first days under every weather."""
