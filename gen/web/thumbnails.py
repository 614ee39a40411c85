"""A small picture of a job, for the list of a visitor's jobs, and of an upload."""

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


def thumbnail(folder: Path) -> Path:
    """A small picture of what a job has made, written into its folder; of nothing, if it has made nothing yet."""
    made = folder / NAME
    for result in _results(folder):
        with suppress(GenError, OSError):
            # A job that goes on makes newer results.
            if not made.is_file() or made.stat().st_mtime_ns < result.stat().st_mtime_ns:
                save_thumbnail(result, made)
            return made
    return made if made.is_file() else NONE_YET


def save_thumbnail(file: Path, out: Path) -> Path:
    """Write a small picture of a still, or of a clip's first frame, as JPEG. Raises `BadInput` if it cannot be read."""
    picture = Image.fromarray(_pixels(file))
    picture.thumbnail(SIZE)
    with writing(out) as partial:
        picture.save(partial, "JPEG", quality=85)
    return out


def _pixels(file: Path) -> Pixels:
    if file.suffix.lower() not in VIDEO_SUFFIXES:
        return decode_still(file).rgb
    with ClipReader(file) as reader:
        return np.ascontiguousarray(next(iter(reader)).rgb)


def _results(folder: Path) -> list[Path]:
    """The pictures and clips that a job has left, the most telling first.

    Those are the first file of a translated folder, the last sample of a training, and a clip in the folder itself.
    """
    output, samples = folder / "output", folder / "run" / "samples"
    found = find_stills(output, quiet=True)[:1] if output.is_dir() else []
    found += find_stills(samples, quiet=True)[-1:] if samples.is_dir() else []
    clips = [file for place in (output, folder) for file in sorted(place.glob("*")) if _is_clip(file)]
    return [*found, *clips]


def _is_clip(file: Path) -> bool:
    return file.suffix.lower() in VIDEO_SUFFIXES
