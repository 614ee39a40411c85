"""Rendered frames for tests: each with its true day and with days of other streets."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.media.resize import to_float
from gen.metrics.distances import list_images, read_batches

OTHER_STREETS = 8
"""Number of other streets' days with which a translation is compared to measure the invented share."""


class Streets:
    """A folder of `gen render-street`: adverse/WEATHER/NAME and day/NAME."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """`limit`: use only this many frames, evenly spaced.

        Raises `BadInput` if a day is missing or if there is only one street.
        """
        self.folder = folder
        self.paths = list_images(folder / "adverse", limit)
        self.names = sorted({path.name for path in self.paths})
        missing = [name for name in self.names if not (folder / "day" / name).is_file()]
        if missing or len(self.names) < 2:
            day = folder / "day"
            problem = f"{day / missing[0]}: no such file" if missing else f"{day}: only one street"
            raise BadInput(f"{problem}; every frame needs its true day, and the folder needs at least two streets.")
        self._day = cache(self._read_day)

    def days(self, path: Path) -> tuple[Tensor, Tensor]:
        """The true day (1, 3, H, W) of the frame at `path`, and days of other streets (K, 3, H, W), in [-1, 1]."""
        index, count = self.names.index(path.name), len(self.names)
        others = [self.names[(index + 1 + i) % count] for i in range(min(OTHER_STREETS, count - 1))]
        return self._day(path.name), torch.cat([self._day(name) for name in others])

    def _read_day(self, name: str) -> Tensor:
        return read_frame(self.folder / "day" / name)


def read_frame(path: Path) -> Tensor:
    """Read an image as (1, 3, H, W) in [-1, 1]."""
    return to_float(next(iter(read_batches([path], 1))).permute(0, 3, 1, 2))
