"""Rendered streets that a translator was not trained on, with the true days of each and of others."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.media.resize import to_float
from gen.metrics.distances import list_images, read_batches

STRANGERS = 8
"""Days of other streets that a share made up is measured against."""


class Streets:
    """Frames of `gen render-street`: adverse/WEATHER/NAME and day/NAME."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """`limit`: frames, spread evenly; none: all.

        Raises `BadInput` where a day is missing or there is but one street.
        """
        self.folder = folder
        self.paths = list_images(folder / "adverse", limit)
        self.names = sorted({path.name for path in self.paths})
        missing = [name for name in self.names if not (folder / "day" / name).is_file()]
        if missing or len(self.names) < 2:
            day = folder / "day"
            what = f"{day / missing[0]}: there is no such file" if missing else f"{day}: there is but one street"
            raise BadInput(f"{what}; rendered pairs need the true day of every frame, and of other streets.")
        self._day = cache(self._read_day)

    def days(self, path: Path) -> tuple[Tensor, Tensor]:
        """Of the frame at `path`: its true day (1, 3, H, W), and the days of other streets (K, 3, H, W), in [-1, 1]."""
        place, count = self.names.index(path.name), len(self.names)
        others = [self.names[(place + 1 + i) % count] for i in range(min(STRANGERS, count - 1))]
        return self._day(path.name), torch.cat([self._day(name) for name in others])

    def _read_day(self, name: str) -> Tensor:
        return read_frame(self.folder / "day" / name)


def read_frame(path: Path) -> Tensor:
    """(1, 3, H, W) in [-1, 1]."""
    return to_float(next(iter(read_batches([path], 1))).permute(0, 3, 1, 2))
