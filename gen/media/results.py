"""What `gen measure-shift` leaves in its output folder, which may lie among the pictures that are read next time.

Free of numpy, so that help texts answer at once.
"""

from pathlib import Path

from gen.formats.json_files import json_if_whole

SHIFT = "a result of gen measure-shift"
PLOTS = ("scatter.png", "pairwise.png")
TABLE, CACHE = "table.json", "cache"


def has_shift_table(folder: Path) -> bool:
    """Whether `gen measure-shift` has written its table to `folder`."""
    file = folder / TABLE
    rows = json_if_whole(file).get("domains") if file.is_file() else None
    return isinstance(rows, list) and any(isinstance(row, dict) and "icv" in row for row in rows)


def is_shift_result(folder: Path) -> bool:
    """Whether `folder` is such a result and no folder of pictures: it has no folders but the cache of histograms."""
    return has_shift_table(folder) and not any(entry.is_dir() and entry.name != CACHE for entry in folder.iterdir())
