"""What to do when frames do not fit into memory: fewer at once, then strips of a frame."""

from dataclasses import dataclass

LARGEST_STRIP = 256
"""Rows of the first strips that are tried."""

SMALLEST_STRIP = 16
"""Rows. Thinner strips hardly save memory: what surrounds them is then larger than they are."""


@dataclass(frozen=True)
class Plan:
    """How frames are given to the model."""

    frames: int
    """How many at once."""
    tile: int | None
    """Rows of a strip; None: whole frames."""


class MemoryLimits:
    """What did not fit before, so that later frames do not fail in the same way."""

    def __init__(self, tile: int | None, can_tile: bool) -> None:
        """`tile`: rows of a strip that the user asked for; `can_tile`: whether the model works in strips."""
        self._asked, self._can_tile = tile, can_tile
        self._most: int | None = None
        """Pixels that are given to the model at once; None: no limit is known."""
        self._rows = tile

    def plan(self, frames: int, size: tuple[int, int]) -> Plan:
        """How to do the first of these frames of (height, width): so many of them, whole or in strips."""
        pixels = size[0] * size[1]
        if self._most is None or frames * pixels <= self._most:
            return Plan(frames, self._asked)
        if pixels <= self._most:
            return Plan(self._most // pixels, self._asked)
        return Plan(1, self._rows)

    def shrink(self, plan: Plan, size: tuple[int, int]) -> bool:
        """Remember that a plan did not fit. False if nothing smaller can be tried."""
        pixels = size[0] * size[1]
        if plan.frames > 1:
            self._most = plan.frames // 2 * pixels
            return True
        rows = min(LARGEST_STRIP, size[0] // 2) if plan.tile is None else plan.tile // 2
        if not self._can_tile or rows < SMALLEST_STRIP:
            return False
        self._most = min(pixels - 1, self._most or pixels)
        self._rows = rows
        return True

    def note(self, plan: Plan, frames: int) -> str | None:
        """What a plan for `frames` frames does for lack of memory, as a sentence; None if nothing."""
        if plan.tile != self._asked:
            return f"there was too little memory for a whole frame, so it was done in strips of {plan.tile} rows"
        if plan.frames < frames:
            return f"there was too little memory for {frames} frames at once, so they were done {plan.frames} at a time"
        return None
