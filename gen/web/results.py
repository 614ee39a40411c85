"""What jobs do with their results: pack them for download."""

import zipfile
from pathlib import Path

from gen.media.files import writing
from gen.web.names import utf8

RESULTS = "results.zip"
"""Name of a job's zip file, in the job's folder."""


def pack(path: Path, folder: Path) -> None:
    """Write all files below `folder`, but for the hidden records of unfinished runs, to a zip at `path`."""
    # Stored (the default), not deflated: images and clips are compressed already; deflating would only cost time.
    # Translations keep the time of their source, and a zip knows none before 1980: such a file gets that year.
    with writing(path) as partial, zipfile.ZipFile(partial, "w", strict_timestamps=False) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".gen")):
            archive.write(file, utf8(file.relative_to(folder).as_posix()))
