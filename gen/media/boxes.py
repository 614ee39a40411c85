"""Boxes of AVIF and HEIC files (ISO/IEC 14496-12): the colour space and the bit depth of the picture."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

KNOWN = frozenset({b"ftyp", b"meta", b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"idat", b"sidx", b"mfra"})
"""Boxes that the decoders read."""
NAMES = {
    b"mpvd": "clip of a motion photo",
    bytes.fromhex("d8fec3d61b0e483c92975828877ec481"): "content credentials (C2PA)",
}
"""Other boxes, or their UUID, and what to call them."""

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


class Box(NamedTuple):
    """Where a box lies in its file."""

    kind: bytes
    start: int
    """Of its header."""
    content: int
    end: int


def boxes_in(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two offsets, up to the first one that makes no sense."""
    while start + 8 <= end:
        file.seek(start)
        header = file.read(16)
        size, kind, content = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if size == 1:
            size, content = int.from_bytes(header[8:16], "big"), start + 16
        last = end if size == 0 else start + size
        if last < content or last > end:
            return
        yield Box(kind, start, content, last)
        start = last


def name_unread(file: BinaryIO) -> list[str]:
    """Names of the boxes at the top of an AVIF or HEIC that no decoder reads."""
    names: list[str] = []
    for box in boxes_in(file, 0, file.seek(0, os.SEEK_END)):
        if box.kind not in KNOWN:
            file.seek(box.content)
            kind = file.read(16) if box.kind == b"uuid" else box.kind
            names.append(NAMES.get(kind, f"box {box.kind.decode('latin-1').strip()}"))
    return list(dict.fromkeys(names))
