"""Crops that a container asks of its player: `clap` of mp4 and mov, PixelCrop of Matroska. PyAV shows neither."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gen.media.boxes import boxes_in

SAMPLE_ENTRY = 78
"""Bytes of a picture's sample entry before its boxes (ISO 14496-12, 12.1.3)."""
PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl")

SEGMENT, TRACKS, TRACK, VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0xE0
CLUSTER = 0x1F43B675
PIXEL_CROPS = {0x54AA, 0x54BB, 0x54CC, 0x54DD}
"""Elements of Matroska (RFC 9559, 5.1.4.1.28)."""
UNKNOWN_SIZE = -1


def is_cropped(path: Path, container: str) -> bool:
    """Whether the container asks for less than whole frames. `container`: ffmpeg's name of its format."""
    with path.open("rb") as file:
        end = path.stat().st_size
        if "mp4" in container:
            return any(_is_smaller(file, *entry) for entry in _sample_entries(file, 0, end, PATH))
        return "matroska" in container and any(_pixel_crops(file, 0, end, (SEGMENT, TRACKS, TRACK, VIDEO)))


def _sample_entries(file: BinaryIO, start: int, end: int, path: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Content and end of each sample entry of a movie."""
    for box in boxes_in(file, start, end):
        if path and box.kind == path[0]:
            yield from _sample_entries(file, box.content, box.end, path[1:])
        elif not path and box.kind == b"stsd":
            yield from ((entry.content, entry.end) for entry in boxes_in(file, box.content + 8, box.end))


def _is_smaller(file: BinaryIO, content: int, end: int) -> bool:
    """Whether the clean aperture of a sample entry is smaller than its frames."""
    file.seek(content + 24)
    size = [int.from_bytes(file.read(2), "big") for _ in range(2)]
    for box in boxes_in(file, content + SAMPLE_ENTRY, end):
        if box.kind == b"clap":
            file.seek(box.content)
            width, per_width, height, per_height = (int.from_bytes(file.read(4), "big") for _ in range(4))
            return width < size[0] * per_width or height < size[1] * per_height
    return False


def _pixel_crops(file: BinaryIO, start: int, end: int, path: Sequence[int]) -> Iterator[bool]:
    """Whether each PixelCrop between two offsets takes anything away."""
    for kind, content, last in _elements(file, start, end):
        if path and kind == path[0]:
            yield from _pixel_crops(file, content, last, path[1:])
        elif not path and kind in PIXEL_CROPS:
            file.seek(content)
            yield any(file.read(last - content))


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, content and end of the EBML elements between two offsets, up to the first frames of a clip."""
    while start < end:
        file.seek(start)
        kind, size = _number(file, keep_marker=True), _number(file)
        content = file.tell()
        last = end if size == UNKNOWN_SIZE else content + size
        if not kind or kind == CLUSTER or last > end:
            return
        yield kind, content, last
        start = last


def _number(file: BinaryIO, keep_marker: bool = False) -> int:
    """A number of EBML's variable length (RFC 8794, 4); 0 where there is none."""
    first = file.read(1)
    if not first or not first[0]:
        return 0
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    if keep_marker:
        return value
    most = (1 << 7 * length) - 1
    return UNKNOWN_SIZE if value & most == most else value & most
