"""Segments of JPEG files: what Pillow does not read (extended XMP, several comments), and names for the rest."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import pack, unpack
from typing import BinaryIO

import simplejpeg

from gen.media.behind import read_behind, skip_past
from gen.media.ifd import read_text

APP1, APP2, APP11, APP13, APP14, COMMENT = 0xE1, 0xE2, 0xEB, 0xED, 0xEE, 0xFE
START_OF_SCAN, END = 0xDA, 0xD9
BARE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""

EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
XMP_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP = b"Photoshop 3.0\0"
HAS_EXTENSION = re.compile(rb"HasExtendedXMP\s*(?:=\s*[\"']|>)\s*([0-9A-Fa-f]{32})")
"""Where a main packet names its extension by its MD5 sum."""
MAX_SEGMENT = 65_533
"""Bytes of a segment without its marker and length."""
MAX_HEAD = 64 << 20
"""Bytes of all segments before the picture."""
MAX_JUNK = 1 << 16
"""Bytes between two segments that are no segment; more is not a JPEG file but something that begins like one."""

IPTC_RESOURCE = 0x0404
NOT_WORTH_NAMING = (0x03ED, 0x0425)
"""Photoshop resources: resolution, which is kept as such, and a checksum of the IPTC records."""
PREVIEWS = (0x0409, 0x040C)

PROFILE, SEVERAL = b"ICC_PROFILE\0", b"MPF\0"
READ = (EXIF, XMP, XMP_EXTENSION, PHOTOSHOP, PROFILE, b"JFIF\0", b"Adobe", SEVERAL)
"""Segments that are read here or by Pillow, or that describe how the pixels are stored."""
KNOWN = {
    b"JP": "content credentials (C2PA)",
    b"JFXX": "embedded preview",
    b"FPXR": "FlashPix data",
    b"FLIR": "thermal data (FLIR)",
    b"Ducky": "export settings (Ducky)",
    b"urn:iso:std:iso:ts:21496": "HDR gain map",
}
"""Starts of other segments, and what to call them."""


@dataclass
class Segments:
    """What the segments of a file hold."""

    xmp: bytes | None = None
    xmp_extension: bytes | None = None
    iptc: bytes | None = None
    comment: str | None = None
    left_out: list[str] = field(default_factory=list[str])
    """Names of what is not read."""


def read_segments(file: BinaryIO) -> Segments:
    """Metadata of a JPEG file. Raises ValueError if its segments are no JPEG's."""
    found = Segments()
    comments: list[str] = []
    resources = b""
    extensions: dict[bytes, dict[int, bytes]] = {}
    profile: set[int] | None = None  # the numbers of the parts that are missing
    several = False
    for marker, data in _segments(file):
        if marker == COMMENT:
            comments.append(read_text(data).strip("\0 \n"))
        elif data.startswith(XMP):
            found.xmp = data.removeprefix(XMP)
        elif data.startswith(XMP_EXTENSION):
            start = len(XMP_EXTENSION) + 40  # 32 digits of the MD5 sum, whole length, offset of this part
            guid, offset = data[start - 40 : start - 8], int.from_bytes(data[start - 4 : start])
            extensions.setdefault(guid, {})[offset] = data[start:]
        elif data.startswith(PHOTOSHOP):
            resources += data.removeprefix(PHOTOSHOP)
        elif data.startswith(PROFILE) and len(data) > len(PROFILE) + 1:
            number, count = data[len(PROFILE) : len(PROFILE) + 2]
            profile = (set(range(1, count + 1)) if profile is None else profile) - {number}
        elif data.startswith(SEVERAL):
            several = True  # Pillow counts the pictures
        elif 0xE0 <= marker <= 0xEF and not data.startswith(READ):
            found.left_out.append(_name(marker, data))
    found.comment = "\n".join(filter(None, comments)) or None
    found.iptc, names = read_resources(resources)
    found.left_out += names
    named = HAS_EXTENSION.search(found.xmp or b"")
    parts = extensions.get(named[1], {}) if named else {}
    found.xmp_extension = b"".join(parts[offset] for offset in sorted(parts)) or None
    found.left_out += ["colour profile (incomplete)"] if profile else []
    if not several and skip_past(file, b"\xff\xd9"):  # the pixels do not hold these bytes
        found.left_out += read_behind(file, file.tell())
    found.left_out = list(dict.fromkeys(found.left_out))
    return found


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(marker, data) up to the start of the picture. Raises ValueError."""
    file.seek(2)
    junk = total = 0
    while junk <= MAX_JUNK:
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends before the picture starts")
        if byte != b"\xff":
            junk += 1
            continue
        marker = 0xFF
        while marker == 0xFF and junk <= MAX_JUNK:  # any number of fill bytes may stand before a marker
            marker = int.from_bytes(file.read(1) or b"\xd9")
            junk += 1
        if marker in (0xFF, 0, *BARE):
            continue
        if marker in (START_OF_SCAN, END):
            return
        junk = 0
        length = int.from_bytes(file.read(2)) - 2
        data = file.read(max(0, length))
        total += 4 + len(data)
        if length < 0 or len(data) < length or total > MAX_HEAD:
            raise ValueError("a segment has a wrong length")
        yield marker, data
    raise ValueError("there is no picture between the segments")


def _name(marker: int, data: bytes) -> str:
    for start, name in KNOWN.items():
        if data.startswith(start):
            return name
    label = data[:24].split(b"\0")[0].decode("ascii", "replace")
    return f"JPEG segment APP{marker - 0xE0}" + (f" ({label})" if label.isprintable() and label.isascii() else "")


def read_resources(data: bytes) -> tuple[bytes | None, list[str]]:
    """Photoshop image resources -> the IPTC records among them, and names of the others."""
    iptc, names, at = None, list[str](), 0
    while data[at : at + 4] == b"8BIM" and at + 12 <= len(data):
        (code,) = unpack(">H", data[at + 4 : at + 6])
        at += 6 + (data[at + 6] | 1) + 1  # a name of odd length, its own length byte included, is padded
        size = int.from_bytes(data[at : at + 4])
        if code == IPTC_RESOURCE:
            iptc = data[at + 4 : at + 4 + size]
        elif code in PREVIEWS:
            names.append("embedded preview")
        elif code not in NOT_WORTH_NAMING:
            names.append("Photoshop resources")
        at += 4 + size + size % 2
    return iptc, names


def iptc_resource(iptc: bytes) -> bytes:
    """IPTC records as a Photoshop image resource."""
    return b"8BIM" + pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


def segment(marker: int, data: bytes) -> bytes:
    """A segment with its marker and length."""
    return b"\xff" + bytes([marker]) + pack(">H", len(data) + 2) + data


def xmp_extension_segments(packet: bytes, guid: bytes) -> bytes:
    """Segments of an extended XMP packet; `guid`: the 32 hexadecimal digits by which the main packet names it."""
    step = MAX_SEGMENT - len(XMP_EXTENSION) - 40
    parts = [packet[at : at + step] for at in range(0, len(packet), step)]
    heads = [XMP_EXTENSION + guid + pack(">II", len(packet), number * step) for number in range(len(parts))]
    return b"".join(segment(APP1, head + part) for head, part in zip(heads, parts, strict=True))


def damage(file: BinaryIO) -> str | None:
    """A warning about coded data that are damaged or missing; Pillow fills such a part of the picture in silence.

    Not all damage shows: some of it reads as another picture.
    """
    file.seek(0)
    try:  # an eighth of the size takes a fifth of the time
        simplejpeg.decode_jpeg(file.read(), "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except Exception as error:  # anything else is a kind that it does not read, such as 12 bits, but Pillow may
        if str(error).startswith(("Corrupt JPEG data", "Premature end")):
            return "The JPEG data are damaged, so that part of the picture may be wrong."
    return None
