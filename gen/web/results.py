"""What jobs do with their results: pack them for download."""

import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from gen.media.files import writing
from gen.web.jobs import JobContext, Stopped
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


@contextmanager
def kept(context: JobContext, keep: Callable[[], None]) -> Generator[None]:
    """Call `keep` after the block, and for a cancelled or failed job too: it keeps what is done.

    A job that the stop of the server interrupts packs its results after the restart. One that came to its end
    meanwhile, or failed, never runs again.
    """
    try:
        yield
    except (Stopped, KeyboardInterrupt):
        if not context.closing:
            keep()
        raise
    except BaseException:
        keep()
        raise
    keep()
