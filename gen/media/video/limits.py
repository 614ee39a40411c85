"""The part of a clip that is read, and how much a clip may hold."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from gen.errors import BadInput


class Part(NamedTuple):
    """The part of a clip that is read, in seconds."""

    start: Fraction = Fraction(0)
    """From the beginning of the clip."""
    duration: Fraction | None = None
    """None: to the end."""


class ClipLimits(NamedTuple):
    """What a clip may hold at most. Checked on the frames as they are decoded, because a header can say anything."""

    pixels: int | None = None
    """Of one frame."""
    frames: int | None = None
    seconds: float | None = None

    def check_size(self, path: Path, width: int, height: int) -> None:
        """Raises `BadInput` for a frame that is too large."""
        if self.pixels is not None and width * height > self.pixels:
            most = f"{self.pixels / 1e6:g} megapixels"
            raise BadInput(f"{path}: frames of {width}x{height} pixels; at most {most} are allowed.")

    def check_length(self, path: Path, count: int, seconds: Fraction) -> None:
        """Raises `BadInput` for too many frames, or too long a time."""
        if self.frames is not None and count > self.frames:
            raise BadInput(f"{path}: more than {self.frames} frames, which is the limit.")
        if self.seconds is not None and seconds > self.seconds:
            raise BadInput(f"{path}: longer than {self.seconds:g} s, which is the limit.")


WHOLE, UNLIMITED = Part(), ClipLimits()
