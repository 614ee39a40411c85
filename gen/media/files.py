"""Atomic writes: a file is complete or absent."""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from gen.errors import BadInput, BadSetting


@contextmanager
def write_atomically(path: Path) -> Generator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block succeeds.

    On any error, Ctrl-C included, the temporary file is removed and `path` is unchanged. The temporary name is hidden
    and keeps the suffix, because encoders choose the format by it.
    """
    partial = path.with_name(f"{_prefix()}{os.getpid()}-{uuid4().hex[:12]}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _prefix() -> str:
    return f".gen-{socket.gethostname()[:32]}-"


def sweep(folder: Path) -> None:
    """Remove temporary files in `folder` left by killed processes of this machine."""
    for partial in folder.glob(f"{_prefix()}*.partial*"):
        process = partial.name.removeprefix(_prefix()).partition("-")[0]
        if process.isdecimal() and not _alive(int(process)):
            partial.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """Like `write_atomically`, for output that a user asked for: raises `BadInput` if `path` cannot be written."""
    try:
        with write_atomically(path) as partial:
            yield partial
    except OSError as error:
        raise BadInput(f"{path}: the file cannot be written ({error.strerror or error}).") from error


def check_out_folder(out: Path) -> None:
    """Raises `BadSetting` if `out`, which must be a folder or new, is a file."""
    if out.exists() and not out.is_dir():
        raise BadSetting(f"out: {out} is a file; give a folder.")


def make_out_folder(folder: Path) -> None:
    """Create an output folder, and remove temporary files that a killed process left in it.

    Raises `BadSetting` if it cannot be created or written to: before the work is done, which may take hours.
    """
    check_out_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    except OSError as error:
        raise BadSetting(f"{folder}: the folder cannot be created ({error.strerror}).") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadSetting(f"{folder}: the output folder is not writable; choose another, or change its permissions.")
