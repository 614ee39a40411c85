"""Blocks of GIF files, read without decoding the frames, and without reading on where a file is damaged."""

from dataclasses import dataclass, field
from typing import BinaryIO

from gen.media.behind import read_behind

MAX_FRAMES = 100_000
LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
"""Extensions that say how often an animation is shown."""
XMP = b"XMP DataXMP"
XMP_END = bytes([1, *range(255, -1, -1), 0])
"""After a packet of XMP, which is not in blocks: any byte of it, taken as a length, leads to its end."""
MAX_XMP = 16 << 20
KNOWN = {b"ICCRGBG1012": "colour profile", b"C2PA_GIF\1\0\0": "content credentials (C2PA)"}


@dataclass
class Blocks:
    """What the blocks of a file hold."""

    frames: int = 0
    xmp: bytes | None = None
    left_out: list[str] = field(default_factory=list[str])
    """Names of what is not read."""


def read_blocks(file: BinaryIO) -> Blocks:
    """Go through the blocks; GIF89a, Appendix B. Raises ValueError without a frame, for which Pillow would read all."""
    found = Blocks()
    file.seek(10)
    flags = file.read(3)[:1]
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), 1)  # the palette
    while found.frames < MAX_FRAMES:
        kind = file.read(1)
        if kind == b"!":
            if file.read(1) == b"\xff":
                _read_application(file, found)
        elif kind == b",":
            flags = file.read(9)[8:]
            palette = 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
            file.seek(palette + 1, 1)  # and the size of the first code
            found.frames += 1
        else:  # the end, or damage
            found.left_out += read_behind(file, file.tell()) if kind == b";" else []
            break
        while length := file.read(1):  # blocks of up to 255 bytes, the last of which is empty
            if length == b"\0":
                break
            file.seek(length[0], 1)
    if not found.frames:
        raise ValueError("a GIF without a frame")
    return found


def _read_application(file: BinaryIO, found: Blocks) -> None:
    """The name of an application's extension, and its content if that is XMP."""
    name = file.read(12)[1:]
    start = file.tell()
    if name == XMP:
        packet, end, _ = file.read(MAX_XMP).partition(XMP_END)
        found.xmp = packet if end else None
    if name not in LOOPS and found.xmp is None:
        found.left_out.append(KNOWN.get(name, f"GIF extension {name.decode('ascii', 'replace')}"))
    file.seek(start)
