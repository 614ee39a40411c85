"""Read and write clips with PyAV in bounded memory.

`ClipReader` gives upright RGB frames and their times; `ClipWriter` writes them with the sound, the other tracks and the
metadata of the source. What an output lacks is in `ClipReader.left_out`, and what was wrong with the source in
`ClipReader.warnings`.
"""

from gen.media.video.colour import Pixels
from gen.media.video.encoders import Encoding, check_encoding
from gen.media.video.joining import CannotJoin, EncodedPart, PartWriter, header_of, ticks
from gen.media.video.limits import UNLIMITED, ClipLimits, Part
from gen.media.video.reader import ClipFrame, ClipReader
from gen.media.video.writer import ClipWriter, write_clip

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm", ".ts", ".mts", ".m2ts", ".wmv", ".mpg", ".mpeg", ".3gp", ".flv",
)  # fmt: skip
"""Clips that are read."""

__all__ = [
    "UNLIMITED", "VIDEO_SUFFIXES", "CannotJoin", "ClipFrame", "ClipLimits", "ClipReader", "ClipWriter", "EncodedPart",
    "Encoding", "Part", "PartWriter", "Pixels", "check_encoding", "header_of", "ticks", "write_clip",
]  # fmt: skip
