"""A decoded picture, with what its file said about it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Metadata:
    """What a file says of a picture besides EXIF and the colour profile."""

    xmp: bytes | None = None
    """XMP packet, without the orientation, which is applied to the pixels."""
    xmp_extension: bytes | None = None
    """Second part of a long XMP packet, as JPEG files have it; the packet names its MD5 sum."""
    iptc: bytes | None = None
    """IPTC-IIM records: keywords, caption, byline."""
    comment: str | None = None
    """Comment of a JPEG or GIF file."""
    text: tuple[tuple[str, str], ...] = ()
    """Text chunks of a PNG: (keyword, text)."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch across and down."""
    png_colour: tuple[tuple[bytes, bytes], ...] = ()
    """gAMA and cHRM chunks of a PNG: how to show the pixels."""
    modified_ns: int | None = None
    """When the file was last changed, in nanoseconds since 1970."""


@dataclass(frozen=True)
class Still:
    """A decoded image, upright."""

    rgb: Pixels
    """(H, W, 3)."""
    alpha: Pixels | None = None
    """(H, W), 255 opaque; None if the file has no transparency."""
    exif: bytes | None = None
    """EXIF block (camera, time, GPS) with the orientation already applied."""
    icc: bytes | None = None
    """Colour profile of the pixels."""
    metadata: Metadata = Metadata()
    """Everything else that the file says of the picture."""
    left_out: tuple[str, ...] = ()
    """What was not read of the file, each in a few words: further pages, damaged metadata."""
    warnings: tuple[str, ...] = ()
    """Faults and conversions that a viewer of the pixels should know, each a sentence."""
