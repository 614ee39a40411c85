"""Boxes of AVIF and HEIC files (ISO/IEC 14496-12): the colour space and the bit depth of the picture."""

import re
from typing import BinaryIO, NamedTuple

MAX_HEAD = 1 << 20
"""Bytes that are searched. The boxes of properties come before the pixels."""


class Boxes(NamedTuple):
    """What the boxes say."""

    cicp: tuple[int, int] | None
    """Colour primaries and transfer function by their numbers in ITU-T H.273."""
    depth: int
    """Bits of a sample."""


def read_boxes(file: BinaryIO) -> Boxes:
    """Read the `colr` box of kind nclx and the codec's configuration, the first of each."""
    file.seek(0)
    head = file.read(MAX_HEAD)
    colour = re.search(rb"colrnclx(.{2})(.{2})", head, re.DOTALL)
    depth = re.search(rb"pixi\0{4}[\x01-\x04]([\x01-\x10])", head)
    cicp = (int.from_bytes(colour[1]), int.from_bytes(colour[2])) if colour else None
    return Boxes(cicp, depth[1][0] if depth else 8)
