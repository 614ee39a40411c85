"""Files of a stage that have the size and time of a remote file, but take no room: they lack its content.

A placeholder says itself that it is one, by a mark that no picture or clip has at that place: neither a crash nor a
copy of the stage can make it pass for the file that it stands for.
"""

import os
from pathlib import Path

from gen.media.files import temporary, write_atomically
from gen.media.folders import Stamp, stamp_of
from gen.media.mark import read_header

MARK = b"gen: this part was not fetched\n"
EDGE = 1 << 16
"""Bytes that `empty_middle` keeps at the beginning and at the end of a file: they hold its metadata."""


def write_placeholder(path: Path, stamp: Stamp) -> None:
    """Write a file of this size and time without content. Raises OSError, for a name that cannot be here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as partial:
        with partial.open("wb") as file:
            file.write(MARK[: stamp.size])
            file.truncate(stamp.size)
        os.utime(partial, ns=(stamp.mtime_ns, stamp.mtime_ns))


def is_empty(path: Path) -> bool:
    """Whether a file lacks all of its content. One shorter than the mark counts as such: it costs nothing to fetch."""
    with path.open("rb") as file:
        found = file.read(len(MARK))
    return len(found) < len(MARK) or found == MARK


def is_placeholder(path: Path) -> bool:
    """Whether a file lacks all of its content or its middle."""
    with path.open("rb") as file:
        file.seek(EDGE)
        return file.read(len(MARK)) == MARK or is_empty(path)


def empty_middle(path: Path) -> None:
    """Take the middle out of a picture or clip of which gen can still read what it says of itself; else keep all."""
    stamp = stamp_of(path)
    if stamp is None or stamp.size < 3 * EDGE or is_placeholder(path) or not (header := read_header(path)).readable:
        return
    with temporary(path) as partial:
        with path.open("rb") as whole, partial.open("wb") as file:
            file.write(whole.read(EDGE) + MARK)
            for end in (whole, file):
                end.seek(stamp.size - EDGE)
            file.write(whole.read())
        os.utime(partial, ns=(stamp.mtime_ns, stamp.mtime_ns))
        if read_header(partial) == header:
            os.replace(partial, path)
