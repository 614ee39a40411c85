"""Files that are either whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the place of `path` when the block ends well.

    On any error, Ctrl-C included, the temporary file is removed and `path` is as it was. The temporary name is
    hidden and keeps the suffix, because encoders choose the format by it.
    """
    partial = path.with_name(f".{path.stem[:80]}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
