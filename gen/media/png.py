"""Chunks of PNG files: what Pillow does not tell of them (bit depth, HDR colours), and names for the rest."""

import zlib
from dataclasses import dataclass, field
from io import BytesIO
from struct import error, pack, unpack
from typing import BinaryIO

from gen.media.behind import read_behind

READ = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP", b"pHYs", b"eXIf"}
    | {b"tEXt", b"zTXt", b"iTXt", b"sBIT", b"hIST", b"sPLT", b"bKGD", b"acTL", b"fcTL", b"fdAT", b"mDCV", b"cLLI"}
)
"""Chunks that are read here or by Pillow, or that only describe how the pixels are stored."""
KNOWN = {b"caBX": "content credentials (C2PA)", b"tIME": "PNG time of the last change"}
OF_SRGB = (
    (b"gAMA", pack(">I", 45455)),
    (b"cHRM", pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)),
)
"""What these chunks say of sRGB, which needs no saying. PNG specification, 11.3.2.5."""
MAX_CHUNKS = 100_000
MAX_CHECKED = 16 << 20
"""Bytes of a chunk whose checksum is looked at."""
ANCILLARY = 0x20
"""Bit of the first letter of chunks without which a picture can be shown."""


@dataclass
class Chunks:
    """What the chunks of a file say."""

    depth: int = 8
    """Bits of a sample."""
    cicp: tuple[int, int] | None = None
    """Colour primaries and transfer function by their numbers in ITU-T H.273."""
    colour: tuple[tuple[bytes, bytes], ...] = ()
    """gAMA and cHRM chunks, unless they are those of sRGB, or sRGB, iCCP or cICP stand above them."""
    damaged: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Where ancillary chunks with a wrong checksum begin and end. Pillow refuses a picture for one of them."""
    left_out: list[str] = field(default_factory=list[str])
    """Names of what is not read."""


def read_chunks(file: BinaryIO) -> Chunks:
    """Go through the chunks of a PNG; what is damaged ends the search."""
    found = Chunks()
    kinds: set[bytes] = set()
    at = 8
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        length, kind = unpack(">I4s", head)
        start, at = at, at + 12 + length
        if kind[0] & ANCILLARY and length <= MAX_CHECKED:
            data = file.read(length + 4)
            if len(data) == length + 4 and zlib.crc32(kind + data[:-4]) != int.from_bytes(data[-4:]):
                found.damaged.append((start, at))
                found.left_out.append(f"PNG chunk {kind.decode('ascii', 'replace')} (damaged)")
                continue
            file.seek(start + 8)
        kinds.add(kind)
        try:
            if kind == b"IHDR":
                found.depth = file.read(9)[8]
            elif kind == b"cICP":
                found.cicp = unpack(">BB", file.read(2))
            elif kind in (b"gAMA", b"cHRM"):
                chunk = (kind, file.read(min(length, 32)))
                found.colour += (chunk,) if chunk not in OF_SRGB else ()
        except (IndexError, error):
            break
        if kind == b"IEND":
            found.left_out += read_behind(file, at)
            break
    if kinds & {b"sRGB", b"iCCP", b"cICP"}:
        found.colour = ()
    unread = sorted(kind for kind in kinds - READ if kind.isalpha())
    found.left_out += [KNOWN.get(kind, f"PNG chunk {kind.decode('ascii')}") for kind in unread]
    return found


def without_damaged(file: BinaryIO, damaged: list[tuple[int, int]]) -> BinaryIO:
    """The file without the chunks between these offsets, in memory."""
    file.seek(0)
    parts, at = list[bytes](), 0
    for start, end in damaged:
        parts.append(file.read(start - at))
        at = file.seek(end)
    return BytesIO(b"".join(parts) + file.read())
