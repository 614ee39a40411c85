"""The streets of `gen render-street` in folders of frames, so that none counts as held out that training has seen.

Nearby seeds share streets: a run renders the streets `seed`, `seed` + 1, and so on, and names each file by its number.
"""

import re
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

STREETS = "streets"
"""Key of a record: the streets of a folder as [first, last]. Records of earlier versions lack it."""

_MARK = re.compile("gen: rendered, (day|dusk|night|rain|rainy_night|fog|snow)")


@cache
def street_of(path: Path) -> int | None:
    """The number of the street that a rendered frame shows, linked ones too; None for other pictures."""
    name = path.resolve().stem
    if not (name.isascii() and name.isdigit()):
        return None
    try:
        with Image.open(path) as picture:
            text = str(picture.getexif().get(ExifTags.Base.ImageDescription, ""))
    except Exception:  # of damaged files; they are reported where they are decoded
        return None
    return int(name) if _MARK.fullmatch(text) else None


def streets_of(paths: Iterable[Path]) -> list[list[int]]:
    """The streets of these frames: [first, last] of each row of numbers without a gap, in rising order."""
    numbers = sorted({number for path in paths if (number := street_of(path)) is not None})
    rows = [[n for _, n in row] for _, row in groupby(enumerate(numbers), lambda item: item[1] - item[0])]
    return [[row[0], row[-1]] for row in rows]


def overlap(some: Any, others: Any) -> bool:
    """Whether two lists of `streets_of` share a street; False for what gen did not write."""
    try:
        return any(a[0] <= b[1] and b[0] <= a[1] for a in some for b in others)
    except (TypeError, LookupError):
        return False
