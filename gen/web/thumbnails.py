"""A small picture of a job, for the list of a visitor's jobs."""

from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from gen.errors import GenError
from gen.media.files import writing
from gen.media.folders import find_stills
from gen.media.images import Pixels, decode_still
from gen.media.video import VIDEO_SUFFIXES, ClipReader

NAME = "thumbnail.jpg"
SIZE = (240, 160)
NONE_YET = Path(__file__).with_name("static") / "no_result.png"
RESULTS = ("output", "run/samples", ".")
"""Where jobs leave their pictures and clips, inside their folder."""


def thumbnail(folder: Path) -> Path:
    """A small picture of what a job has made, written into its folder; of nothing, if it has made nothing yet."""
    made = folder / NAME
    if not made.is_file():
        pixels = _first_result(folder)
        if pixels is None:
            return NONE_YET
        picture = Image.fromarray(pixels)
        picture.thumbnail(SIZE)
        with writing(made) as partial:
            picture.save(partial, "JPEG", quality=85)
    return made


def _first_result(folder: Path) -> Pixels | None:
    for place in (folder / name for name in RESULTS):
        files = find_stills(place, quiet=True) if place.is_dir() and place != folder else []
        for still in files[:1]:
            with suppress(GenError, OSError):
                return decode_still(still).rgb
        for clip in sorted(f for f in place.glob("*") if f.suffix.lower() in VIDEO_SUFFIXES)[:1]:
            with suppress(GenError, OSError), ClipReader(clip) as reader:
                return np.ascontiguousarray(next(iter(reader)).rgb)
    return None
