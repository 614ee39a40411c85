"""Chunks of WebP files (RFC 9649): names for those that Pillow does not read."""

from typing import BinaryIO

from gen.media.behind import read_behind

READ = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "})
KNOWN = {b"C2PA": "content credentials (C2PA)"}
MAX_CHUNKS = 100_000


def name_unread(file: BinaryIO) -> list[str]:
    """Names of what is not read of a WebP; what is damaged ends the search."""
    file.seek(4)
    at, end = 12, 8 + int.from_bytes(file.read(4), "little")
    names: list[str] = []
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if at >= end or len(head) < 8:
            break
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind not in READ:
            names.append(KNOWN.get(kind, f"WebP chunk {kind.decode('ascii', 'replace').strip()}"))
        at += 8 + length + length % 2
    return list(dict.fromkeys(names + read_behind(file, end)))
