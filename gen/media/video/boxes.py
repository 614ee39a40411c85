"""Boxes of mp4 and mov files (ISO 14496-12, 4.2) that ffmpeg neither reads nor writes: XMP, maker notes, GPS logs."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gen.media.behind import read_behind
from gen.media.boxes import Box, boxes_in

SUFFIXES = (".mp4", ".mov", ".m4v", ".3gp")

KNOWN_TOP = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx", b"styp", b"pdin", b"ssix",
             b"prft", b"emsg", b"pnot", b"meta"}  # fmt: skip
KNOWN_MOVIE = {b"mvhd", b"trak", b"udta", b"iods", b"mvex", b"meta", b"free", b"skip", b"wide", b"ctab", b"cmov"}
KNOWN_USER = {b"meta", b"name", b"free", b"skip", b"chpl", b"loci", b"hnti", b"hinf", b"WLOC", b"AllF", b"SelO",
              b"LOOP", b"ptv ", b"Xtra", b"titl", b"auth", b"cprt", b"dscp", b"perf", b"gnre", b"albm", b"yrrc",
              b"kywd", b"date", b"\0\0\0\0"}  # fmt: skip
"""Children of moov/udta that ffmpeg reads, or that only say how a window was placed. Names with (c) are read too."""

FREE = (b"free", b"skip")
LONGEST_NAME = 100
"""Bytes; muxers write their names into short boxes of free space."""

XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""UUID of a box of XMP at the top of an mp4 file (XMP specification, part 3)."""


def lost_boxes(path: Path) -> Iterator[str]:
    """Boxes of metadata of an mp4 or mov file that no output has, in words."""
    end = 0
    with path.open("rb") as file:
        for box in boxes_in(file, 0, path.stat().st_size):
            if box.kind == bytes(4):  # zeros, to which some cameras fill up a file
                break
            end = box.end
            if box.kind in FREE and _is_used(file, box):
                yield f"data in a box that is marked as {box.kind.decode()}"
            elif box.kind == b"uuid" and not _is_xmp(file, box):
                yield "metadata box uuid"
            elif box.kind not in KNOWN_TOP | {b"uuid"}:
                yield f"metadata box {_name(box.kind)}"
            elif box.kind == b"moov":
                yield from _lost_in_movie(file, box)
        if read_behind(file, end):
            yield "data behind the clip"


def _is_used(file: BinaryIO, box: Box) -> bool:
    """Whether a box that is marked as free space holds more than zeros or a muxer's name: dash cams put GPS there."""
    return box.end - box.content > LONGEST_NAME and bool(read_behind(file, box.content, box.end))


def _lost_in_movie(file: BinaryIO, movie: Box) -> Iterator[str]:
    for box in boxes_in(file, movie.content, movie.end):
        if box.kind == b"udta":
            for user in boxes_in(file, box.content, box.end):
                if user.kind not in KNOWN_USER and user.kind[:1] != b"\xa9":
                    yield f"metadata box {_name(user.kind)}"
        elif box.kind not in KNOWN_MOVIE:
            yield f"metadata box {_name(box.kind)}"


def copy_xmp(source: Path, output: Path) -> None:
    """Append the boxes of XMP at the top of an mp4 file to another one."""
    if source.suffix.lower() not in SUFFIXES or output.suffix.lower() not in SUFFIXES:
        return
    with source.open("rb") as file, output.open("ab") as target:
        for box in boxes_in(file, 0, source.stat().st_size):
            if box.kind == b"uuid" and _is_xmp(file, box):
                file.seek(box.start)
                target.write(file.read(box.end - box.start))


def _is_xmp(file: BinaryIO, box: Box) -> bool:
    file.seek(box.content)
    return file.read(16) == XMP


def _name(kind: bytes) -> str:
    return kind.decode("latin-1").strip() if kind.isalnum() or kind.strip().isalnum() else kind.hex()
