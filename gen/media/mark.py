"""The mark in the metadata of what gen made: what it was made with, and of which input. It is written and read here."""

import hashlib
import re
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple, Self

import av
from PIL import ExifTags

from gen.errors import BadInput
from gen.media.folders import Stamp, suffix_of
from gen.media.images import decode_still, open_header
from gen.media.video import VIDEO_SUFFIXES, ClipReader

_FORM = re.compile(
    r"(?P<verb>Translated|Drawn) by gen \((?P<made>.*?)(?:; source (?P<source>[0-9a-f]{8}))?\): not a photograph", re.S
)

_MADE = re.compile(r"gen: (?:clear day with )?(rendered|simulated)\b")
"""What rendered streets and scenes, and simulated weathers, say of themselves."""


class Mark(NamedTuple):
    """What a translation, or a picture of a generator, says of itself."""

    made_with: str
    """Model, direction and settings. Files of version 0.1 give the model's name and the direction alone."""
    source: str | None
    """`source_id` of the input; None in files of version 0.1, and where there is none that could be looked at."""
    verb: str = "Translated"
    """Or Drawn, by a generator."""

    def text(self) -> str:
        """The sentence for the metadata."""
        source = f"; source {self.source}" if self.source else ""
        return f"{self.verb} by gen ({self.made_with}{source}): not a photograph"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The mark in a text; None if there is none."""
        found = _FORM.search(text)
        return cls(found["made"], found["source"], found["verb"]) if found else None


def source_id(stamp: Stamp) -> str:
    """8 hex digits that tell inputs apart by size and time, which they do not reveal."""
    return hashlib.sha256(f"{stamp.size} {stamp.mtime_ns}".encode()).hexdigest()[:8]


class Header(NamedTuple):
    """What the first bytes of a file show."""

    readable: bool
    """Whether it is a file of its kind, as far as its header says."""
    mark: Mark | None
    made: str | None = None
    """How gen made it: translated, drawn, rendered or simulated; None if it did not, as far as the file says."""


def read_header(path: Path) -> Header:
    """Open a picture, a clip or a zip without decoding it."""
    try:
        if not path.is_file() or path.stat().st_size == 0:
            return Header(False, None)
        if suffix_of(path) == ".zip":
            return Header(zipfile.is_zipfile(path), None)
        text = _clip_text(path) if suffix_of(path) in VIDEO_SUFFIXES else _still_text(path)
    except Exception:  # decoders of damaged files raise anything
        return Header(False, None)
    mark, made = Mark.parse(text), _MADE.match(text)
    return Header(True, mark, mark.verb.lower() if mark else made[1] if made else None)


def _still_text(path: Path) -> str:
    """The text at the mark's place in a picture's metadata. Raises if it is not a picture.

    Only there: a translation of a translation keeps the first one's mark at another place.
    """
    with path.open("rb") as file:
        try:
            opened = open_header(file, path)
        except Exception:  # whatever it is
            decode_still(path)  # a copied TIFF of 16 bits, which Pillow does not open
            return ""
        if opened.format == "PNG":  # its EXIF may lie behind the pixels
            return str(opened.info.get("Description", ""))
        return str(opened.getexif().get(ExifTags.Base.ImageDescription, ""))


def _clip_text(path: Path) -> str:
    """The comment of a clip. Raises if it is not a clip."""
    with av.open(f"file:{path}") as container:
        if not container.streams.video:
            raise BadInput(f"{path}: no video stream.")
        return next((text for key, text in container.metadata.items() if key.lower() == "comment"), "")


def check_whole(path: Path) -> None:
    """Decode all of a picture, a clip or a zip. Raises `BadInput` or the decoder's error if it is damaged."""
    if suffix_of(path) == ".zip":
        with zipfile.ZipFile(path) as archive:
            if (name := archive.testzip()) is not None:
                raise BadInput(f"{path}: {name} is damaged.")
    elif suffix_of(path) in VIDEO_SUFFIXES:
        with ClipReader(path) as reader:
            for _ in reader:
                pass
            if not reader.whole:
                raise BadInput(f"{path}: {reader.warnings[0]}")
    else:
        decode_still(path, sys.maxsize)  # of three pictures side by side, each may have been as large as allowed
