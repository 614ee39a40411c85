"""Parts of AVI files and transport streams that ffmpeg does not show as tracks, where dash cams keep GPS."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gen.media.behind import read_behind
from gen.media.boxes import Box
from gen.media.video.boxes import LONGEST_NAME

KNOWN_CHUNKS = re.compile(
    rb"RIFF|LIST|JUNK|idx1|IDIT|ISMP|INFO|hdrl|movi|rec |ix\d\d|[0-9a-f]{2}(dc|db|wb|tx|sb|pc|iv)"
)
"""Chunks and lists of an AVI file that ffmpeg reads."""
MOST = 5000
"""Chunks of a list that are looked at: seconds of a clip."""
PACKET, HEAD = 188, 1 << 24
"""Bytes of a packet of a transport stream, and how many are looked at."""
TABLES = {*range(0x20), 0x1FFB, 0x1FFF}
"""PIDs of tables and padding (ISO 13818-1, EN 300 468, ATSC A/65)."""


def lost_chunks(path: Path) -> Iterator[str]:
    """Chunks of an AVI file that no output has, in words, each once."""
    found: dict[str, None] = {}
    with path.open("rb") as file:
        size, end = path.stat().st_size, 0
        for riff in _chunks(file, 0, size):
            if riff.kind != b"RIFF":
                break
            end = riff.end
            found |= dict.fromkeys(_lost_in(file, riff))
        if end and read_behind(file, end):
            found["data behind the clip"] = None
    yield from found


def _lost_in(file: BinaryIO, parent: Box) -> Iterator[str]:
    for number, chunk in enumerate(_chunks(file, parent.content + 4, parent.end)):
        if number == MOST:
            return
        file.seek(chunk.content)
        kind = file.read(4) if chunk.kind == b"LIST" else chunk.kind
        if not KNOWN_CHUNKS.fullmatch(kind):
            yield f"metadata chunk {kind.decode('latin-1').strip()}"
        elif kind == b"JUNK" and len(_start(file, chunk).strip(b"\0")) > LONGEST_NAME:
            yield "data in a chunk that is marked as JUNK"
        elif kind in (b"movi", b"rec "):
            yield from _lost_in(file, chunk)


def _start(file: BinaryIO, chunk: Box) -> bytes:
    file.seek(chunk.content)
    return file.read(min(chunk.end - chunk.content, 1 << 16))


def _chunks(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The chunks between two offsets, up to the first one that makes no sense, as recordings that were cut off have."""
    while start + 8 <= end:
        file.seek(start)
        kind, size = file.read(4), int.from_bytes(file.read(4), "little")
        content = start + 8
        if not kind.isascii() or not kind.strip(b"\0") or not 0 < size <= end - content:
            return
        yield Box(kind, start, content, content + size)
        start = content + size + size % 2


def lost_packets(path: Path, tracks: set[int]) -> Iterator[str]:
    """Packets near the start of a transport stream that belong to none of these tracks (by PID), in words."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    first = head.find(b"G")
    step = next((size for size in (PACKET, PACKET + 4) if _in_step(head, first, size)), None)
    if step is None:
        return
    pids: set[int] = set()
    maps: set[int] = set()
    for at in range(first, len(head) - PACKET + 1, step):
        if head[at] != 0x47:  # damaged
            return
        pid = int.from_bytes(head[at + 1 : at + 3]) & 0x1FFF
        if pid == 0 and head[at + 1] & 0x40:
            maps |= _maps(head[at : at + PACKET])
        pids.add(pid)
    if lost := sorted(pids - maps - tracks - TABLES):
        yield f"data in packets that belong to no track (PID {', '.join(map(hex, lost))})"


def _in_step(head: bytes, first: int, step: int) -> bool:
    return first >= 0 and len(head) > first + 4 * step and all(head[first + n * step] == 0x47 for n in range(5))


def _maps(packet: bytes) -> set[int]:
    """PIDs of the programs' maps that a packet of the program association table names."""
    start = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    section = packet[start + 1 + packet[start] :] if start < PACKET else b""
    length = int.from_bytes(section[1:3]) & 0xFFF
    entries = section[8 : 3 + length - 4]
    return {int.from_bytes(entries[n + 2 : n + 4]) & 0x1FFF for n in range(0, len(entries) - 3, 4)}
