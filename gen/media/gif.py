"""Frames of GIF files, counted without decoding them, and without reading on where a file is damaged."""

from typing import BinaryIO

MAX_FRAMES = 100_000


def count_frames(file: BinaryIO) -> int:
    """Number of frames; GIF89a, Appendix B. Raises ValueError if there is none, for which Pillow would read it all."""
    file.seek(10)
    flags = file.read(3)[:1]
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), 1)  # the palette
    frames = 0
    while frames < MAX_FRAMES:
        kind = file.read(1)
        if kind == b"!":
            file.seek(1, 1)
        elif kind == b",":
            flags = file.read(9)[8:]
            palette = 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0
            file.seek(palette + 1, 1)  # and the size of the first code
            frames += 1
        else:  # the end, or damage
            break
        while length := file.read(1):  # blocks of up to 255 bytes, the last of which is empty
            if length == b"\0":
                break
            file.seek(length[0], 1)
    if not frames:
        raise ValueError("a GIF without a frame")
    return frames
