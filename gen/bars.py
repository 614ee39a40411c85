"""Progress: a bar in a terminal, a plain line every ten seconds in a log. Neither trusts the system's clock."""

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tqdm import tqdm

if TYPE_CHECKING:
    from tqdm.std import tqdm as Bar

T = TypeVar("T")

LINE_SECONDS = 10.0
"""Seconds between two lines of a log."""


class LineBar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
    """A `tqdm` that prints lines such as `street: 120 of 400 frames, 3.1 a second, 1:30 left`.

    It prints nothing if the work takes less than `LINE_SECONDS`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._next_line = time.monotonic() + LINE_SECONDS
        super().__init__(*args, **{**options, "mininterval": LINE_SECONDS, "dynamic_ncols": False})

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # pyright: ignore
        """Print a line if it is time for one; called by `tqdm` whenever it would draw."""
        now = time.monotonic()
        if now >= self._next_line and self.n > self.initial:
            self._next_line = now + LINE_SECONDS
            print(self._line(), file=self.fp, flush=True)
        return True

    def _line(self) -> str:
        told = self.format_dict
        rate = told["rate"] or (self.n - self.initial) / max(told["elapsed"], 1e-9)
        count = f"{self.n:,} of {self.total:,}" if self.total else f"{self.n:,}"
        left = f", {self.format_interval(max(0, self.total - self.n) / rate)} left" if self.total and rate else ""
        title, values = (self.desc or "").removesuffix(": "), f", {self.postfix}" if self.postfix else ""
        return f"{title}{': ' if title else ''}{count} {_plural(self.unit)}, {rate:.3g} a second{left}{values}"

    def moveto(self, n: int) -> None:
        """A log has no cursor."""

    def clear(self, nolock: bool = False) -> None:
        """What is printed stays."""

    def close(self) -> None:
        """Without the last picture of the bar, which `tqdm` leaves on the screen."""
        if not self.disable:
            self.disable = True
            self._decr_instances(self)  # pyright: ignore[reportAttributeAccessIssue]


def _plural(unit: str) -> str:
    return {"it": "items", "img": "images"}.get(unit, f"{unit}s")


def progress_bar(items: "Iterable[T] | None" = None, **options: Any) -> "Bar[T]":
    """A `tqdm` with these options: a bar if stderr is a terminal, else a `LineBar`."""
    kind = cast(Any, tqdm if sys.stderr.isatty() else LineBar)
    bar = kind(items, **options)
    # tqdm reads the wall clock. When NTP sets that back, its bars stand still and its estimates become negative.
    bar._time = time.monotonic
    bar.last_print_t = bar.start_t = time.monotonic()
    return bar
