"""What jobs do with their results: pack them for download."""

import zipfile
from pathlib import Path

from gen.media.files import writing

RESULTS = "results.zip"
"""Name of a job's zip file, in the job's folder."""


def pack(path: Path, folder: Path) -> None:
    """Write all files below `folder`, but for the hidden records of unfinished runs, to a zip at `path`."""
    # Stored, not deflated: images and clips are compressed already, and deflating them would only cost time.
    with writing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".gen")):
            archive.write(file, file.relative_to(folder).as_posix())
