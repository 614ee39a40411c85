"""Tag directories (IFDs) of TIFF 6.0, which TIFF files and EXIF blocks share: read what is whole, write it elsewhere.

Values stay the bytes that they were, in their own type and byte order, so that text of any encoding survives.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from io import BytesIO
from struct import calcsize, pack, unpack
from struct import error as struct_error
from typing import BinaryIO, NamedTuple

EXIF, GPS, INTEROP = 34665, 34853, 40965
CHILDREN = (EXIF, GPS, INTEROP)
"""Tags whose value is the offset of another directory."""

IMAGE_DESCRIPTION, ORIENTATION, SOFTWARE = 270, 274, 305
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
XMP, IPTC, PHOTOSHOP, ICC, C2PA = 700, 33723, 34377, 34675, 52545
PIXEL_DIMENSIONS = (40962, 40963)
"""In the EXIF directory: width and height."""
USER_COMMENT = 37510
"""In the EXIF directory: an 8-byte name of the encoding, then the text."""
MAKER_NOTE = 37500
"""In the EXIF directory: what a camera's maker adds. Many makers count its offsets from the start of the block."""
MAX_GAP = 1 << 15
"""Bytes before a maker note that is written where it was. That of a camera begins at about 1,000."""

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of one value of each type; 16 to 18 exist in BigTIFF only."""

MAX_FIELD_BYTES = 16 << 20
"""Fields above this are not read; a count in a damaged file may ask for any size."""
MAX_DEPTH = 3
MAX_DIRECTORIES = 10_000

STRUCTURE = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, ORIENTATION, 273, 277, 278, 279, 280, 281, 284}
    | {288, 289, 290, 291, 292, 293, 297, 301, *range(317, 337), *range(338, 348), 351, *range(400, 406)}
    | {*range(512, 522), *range(529, 533), 559}  # JPEG-in-TIFF, YCbCr, strips of another kind
    | {32932, 32995, 32996, 32997, 32998, 34016, *range(34017, 34033), 37439, 37679, 37680, 50838, 50839}
    | {*range(48129, 48133), *range(48256, 48326)}  # JPEG XR
    | {*range(33421, 33424), *range(50706, 50985), *range(51008, 51182)}  # raw sensors, DNG
)
"""Tags that describe how the pixels of their own file are stored. They would be false in a file of other pixels."""


def read_text(data: bytes) -> str:
    """Bytes as text: UTF-8, or the Latin-1 of older programs, in which every byte is a letter."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


class Field(NamedTuple):
    """One value or list of values."""

    type: int
    number: int
    """Of values."""
    data: bytes
    place: int = 0
    """Offset of a maker note, which must not move; 0: any, as of all others."""


@dataclass
class Directory:
    """The tags of a directory, and the directories that it points to."""

    order: str = "<"
    """Byte order as in `struct`: "<" or ">"."""
    big: bool = False
    """Whether it was read from a BigTIFF. It is written as a classic one."""
    fields: dict[int, Field] = field(default_factory=dict[int, Field])
    children: "dict[int, Directory]" = field(default_factory=dict[int, "Directory"])
    damaged: int = 0
    """Number of entries that could not be read, children included."""
    pages: int = 1
    """Number of directories in the chain that starts with this one: pages of a TIFF, preview of an EXIF block."""

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """The values of a tag of whole numbers; `default` if it is absent or of another type."""
        found = self.fields.get(tag)
        code = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(found.type) if found else None
        return unpack(f"{self.order}{found.number}{code}", found.data) if found and code else default

    def text(self, tag: int) -> str:
        """The value of a tag as text, "" if it is absent."""
        found = self.fields.get(tag)
        return read_text(found.data.rstrip(b"\0")).strip() if found and found.type == ASCII else ""

    def put(self, tag: int, kind: int, *values: int) -> None:
        """Set a tag to whole numbers of type SHORT, LONG or RATIONAL; a rational takes two."""
        code = {SHORT: "H", LONG: "I", RATIONAL: "I"}[kind]
        count = len(values) // (2 if kind == RATIONAL else 1)
        self.fields[tag] = Field(kind, count, pack(f"{self.order}{len(values)}{code}", *values))

    def put_text(self, tag: int, text: str) -> None:
        """Set a tag to text, in UTF-8."""
        data = text.encode() + b"\0"
        self.fields[tag] = Field(ASCII, len(data), data)

    def put_bytes(self, tag: int, data: bytes, kind: int = UNDEFINED) -> None:
        """Set a tag to bytes."""
        self.fields[tag] = Field(kind, len(data), data)

    def swap(self, first: int, second: int) -> None:
        """Exchange the values of two tags, either of which may be absent."""
        before = {second: self.fields.pop(first, None), first: self.fields.pop(second, None)}
        self.fields |= {tag: value for tag, value in before.items() if value}

    def __bool__(self) -> bool:
        return bool(self.fields) or any(self.children.values())


class _Reader(NamedTuple):
    file: BinaryIO
    order: str
    big: bool
    wanted: Container[int] | None

    def read(self, offset: int, format: str) -> tuple[int, ...]:
        self.file.seek(offset)
        return unpack(self.order + format, self.file.read(calcsize("=" + format)))

    def directory(self, offset: int, depth: int = 0) -> tuple[Directory, int]:
        """The directory at `offset`, and the offset of the next one. Raises `struct.error` or OverflowError."""
        found = Directory(self.order, self.big)
        (count,) = self.read(offset, "Q" if self.big else "H")
        first, size = offset + (8 if self.big else 2), 20 if self.big else 12
        for entry in range(first, first + size * min(count, 65535), size):
            try:
                self.entry(found, entry, depth)
            except (OSError, ValueError, OverflowError, KeyError, IndexError, struct_error):
                found.damaged += 1
                if entry - first > size * 1000 and found.damaged > 900:  # not a directory but noise
                    break
        try:
            (following,) = self.read(first + size * count, "Q" if self.big else "I")
        except (OSError, ValueError, OverflowError, struct_error):
            following = 0
        return found, following

    def entry(self, found: Directory, offset: int, depth: int) -> None:
        """Add the entry at `offset` to `found`. Raises an error of many kinds if it is damaged."""
        tag, kind, count = self.read(offset, "HHQ" if self.big else "HHI")
        value = offset + (12 if self.big else 8)
        if tag in STRUCTURE if self.wanted is None else tag not in self.wanted:
            return
        size = SIZES[kind] * count
        (pointer,) = self.read(value, "Q" if self.big else "I")
        if tag in CHILDREN:
            if depth < MAX_DEPTH and tag not in found.children:  # a second one could make the work quadratic
                found.children[tag] = Directory(self.order, self.big)
                found.children[tag], _ = self.directory(pointer, depth + 1)
                found.damaged += found.children[tag].damaged
            return
        if size > MAX_FIELD_BYTES or (kind > 12 and self.wanted is None):
            raise ValueError("too large, or a type that a classic TIFF cannot hold")
        inside = size <= (8 if self.big else 4)
        self.file.seek(value if inside else pointer)
        data = self.file.read(size)
        if len(data) < size:
            raise ValueError("the file ends before the value does")
        fixed = tag == MAKER_NOTE and not inside and pointer >= 8
        found.fields[tag] = Field(kind, count, data, pointer if fixed else 0)


def read_directory(file: BinaryIO, wanted: Container[int] | None = None) -> Directory:
    """The first directory of a TIFF or BigTIFF. `wanted`: tags to read; None: all but those of `STRUCTURE`.

    Raises ValueError if there is none. Damaged entries are counted, and the others are kept.
    """
    file.seek(0)
    head = file.read(16)
    try:
        order = {b"II": "<", b"MM": ">"}[head[:2]]
        big = head[2:4] in (b"+\0", b"\0+")
        (start,) = unpack(order + ("Q" if big else "I"), head[8:16] if big else head[4:8])
        reader = _Reader(file, order, big, wanted)
        found, following = reader.directory(start)
        found.pages = 1 + _count_chain(reader, following, {start})
    except (KeyError, OverflowError, struct_error) as error:
        raise ValueError("no tag directory") from error
    return found


def _count_chain(reader: _Reader, offset: int, seen: set[int]) -> int:
    """Number of directories from `offset` on. A chain that is damaged or runs in a circle ends there."""
    count = 0
    while offset and offset not in seen and count < MAX_DIRECTORIES:
        seen.add(offset)
        try:
            (entries,) = reader.read(offset, "Q" if reader.big else "H")
            after = offset + (8 + 20 * entries if reader.big else 2 + 12 * entries)
            (offset,) = reader.read(after, "Q" if reader.big else "I")
        except (OSError, ValueError, OverflowError, struct_error):
            break
        count += 1
    return count


def read_exif(block: bytes) -> Directory:
    """The directories of an EXIF block, with its "Exif" header, without, or with two: Pillow adds one to that of a PNG.

    Raises ValueError if there are none.
    """
    return read_directory(BytesIO(block.removeprefix(b"Exif\0\0").removeprefix(b"Exif\0\0")))


def write_exif(directory: Directory) -> bytes:
    """The inverse of `read_exif`: an EXIF block with its "Exif" header."""
    return b"Exif\0\0" + write_tags(directory)


def write_tags(directory: Directory) -> bytes:
    """The start of a TIFF: its header, a maker note where it was, and the directory with all else."""
    note = directory.children.get(EXIF, Directory()).fields.get(MAKER_NOTE)
    front = bytes(note.place - 8) + note.data if note and note.place else b""
    front += bytes(len(front) % 2)
    return header(directory, 8 + len(front)) + front + write_directory(directory, 8 + len(front))


def header(directory: Directory, start: int = 8) -> bytes:
    """The first 8 bytes of a TIFF whose directory is at `start`."""
    return (b"II" if directory.order == "<" else b"MM") + pack(directory.order + "HI", 42, start)


def write_directory(directory: Directory, start: int) -> bytes:
    """The directory with its values and children, for offset `start` of a file; the chain ends with it."""
    order = directory.order
    tags = sorted(directory.fields.keys() | directory.children.keys())
    entries, values = [], b""
    free = start + 2 + 12 * len(tags) + 4
    for tag in tags:
        if tag in directory.children:
            written = write_directory(directory.children[tag], free + len(values))
            entries.append(pack(order + "HHII", tag, LONG, 1, free + len(values)))
            values += written + b"\0" * (len(written) % 2)
            continue
        kind, count, data, place = directory.fields[tag]
        if place:  # written by `write_tags`
            entries.append(pack(order + "HHII", tag, kind, count, place))
        elif len(data) <= 4:
            entries.append(pack(order + "HHI", tag, kind, count) + data.ljust(4, b"\0"))
        else:
            entries.append(pack(order + "HHII", tag, kind, count, free + len(values)))
            values += data + b"\0" * (len(data) % 2)  # TIFF 6.0: values begin on a word boundary
    return pack(order + "H", len(tags)) + b"".join(entries) + bytes(4) + values


def largest_field(directory: Directory) -> tuple[Directory, int] | None:
    """Where the longest value of the tree is: its directory and its tag."""
    found = [(len(f.data), directory, tag) for tag, f in directory.fields.items()]
    for child in directory.children.values():
        if inner := largest_field(child):
            found.append((len(inner[0].fields[inner[1]].data), *inner))
    best = max(found, key=lambda item: item[0], default=None)
    return best[1:] if best else None
