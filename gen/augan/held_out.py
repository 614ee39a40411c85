"""Rendered frames for tests: each with its true day and with days of other streets."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gen.bars import progress_bar
from gen.errors import BadInput
from gen.media.left_out import LeftOut
from gen.media.resize import resize, to_float
from gen.metrics import distances
from gen.metrics.distances import list_images

OTHER_STREETS = 8
"""Number of other streets' days with which a translation is compared to measure the invented share."""


class HeldOut(NamedTuple):
    """A frame with its true day and days of other streets; images (K, 3, H, W) in [-1, 1]."""

    number: int
    """Index among `Streets.paths`."""
    path: Path
    frame: Tensor
    truth: Tensor
    other_days: Tensor


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
        self.left_out = LeftOut()
        """Images that cannot be read."""
        self._day = cache(self._read_day)

    def frames(self, title: str) -> Iterator["HeldOut"]:
        """Every frame with its days, behind a progress bar with this title.

        Frames that cannot be read, or whose day cannot, are left out with a warning. Raises `BadInput` if none is left.
        """
        found = False
        for index, path in enumerate(progress_bar(self.paths, desc=title, unit="frame")):
            read = self.left_out.read(path, lambda path: (read_frame(path), *self.days(path)))
            if read is not None:
                found = True
                yield HeldOut(index, path, *read)
        if not found:
            raise BadInput(f"{self.folder}: no frame can be used:{self.left_out.listed()}")

    def days(self, path: Path) -> tuple[Tensor, Tensor]:
        """The true day (1, 3, H, W) of the frame at `path`, and days of other streets (K, 3, H, W), in [-1, 1].

        Raises `BadInput` if the true day or all others cannot be read.
        """
        index, count = self.names.index(path.name), len(self.names)
        names = [self.names[(index + 1 + i) % count] for i in range(min(OTHER_STREETS, count - 1))]
        others = [day for day in map(self._day, names) if day is not None]
        true = self._day(path.name)
        if true is None or not others:
            raise BadInput(f"{path}: its true day, or the days of all other streets, cannot be read.")
        size = true.shape[2], true.shape[3]
        return true, torch.cat([resize(day, size) for day in others])  # simulated pairs may be of several cameras

    def _read_day(self, name: str) -> Tensor | None:
        return self.left_out.read(self.folder / "day" / name, read_frame)


def read_frame(path: Path) -> Tensor:
    """Read an image as (1, 3, H, W) in [-1, 1]. Raises `BadInput`."""
    return to_float(distances.read_frame(path)[None].permute(0, 3, 1, 2))
