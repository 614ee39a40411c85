"""What lies in a file behind the end of its picture: clips of motion photos, records of cameras, appended archives."""

from typing import BinaryIO

BEHIND = "data behind the picture"
PADDING = b"\0\r\n "
"""Bytes that some programs fill a file up with."""
BLOCK = 1 << 20
"""Bytes that are read at once."""


def read_behind(file: BinaryIO, end: int, last: int | None = None) -> list[str]:
    """An entry for `left_out` if anything but padding lies from offset `end` on, or from there to `last`."""
    file.seek(end)
    while block := file.read(BLOCK if last is None else min(BLOCK, last - file.tell())):
        if block.strip(PADDING):
            return [BEHIND]
    return []


def skip_past(file: BinaryIO, mark: bytes) -> bool:
    """Move behind the next `mark` of at least 2 bytes; False, at the end of the file, if there is none."""
    last = b""
    while block := last + file.read(BLOCK):
        if (at := block.find(mark)) >= 0:
            file.seek(at + len(mark) - len(block), 1)
            return True
        if len(block) == len(last):
            break
        last = block[1 - len(mark) :]
    return False
