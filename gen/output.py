"""The output folder of a long command: made, locked, checked for room; a write that fails becomes one sentence."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gen.disk import why_not_written
from gen.errors import BadSetting, GenError
from gen.locks import locked
from gen.media.files import make_out_folder, sweep

LEAST = 1 << 20
"""Bytes that must be free before any command begins."""


@contextmanager
def output_folder(out: Path, largest: int = 0, total: int = 0) -> Generator[None]:
    """Within the block, `out` exists and no other run may write to it.

    `largest`, `total`: bytes of the largest file and of all files, as far as they are known before the work. Raises
    `BadSetting` if the folder cannot be written, another run has its lock, or there is too little room, and from within
    the block for a write that fails.
    """
    make_out_folder(out)
    with locked(out), readable_write_errors(out):
        sweep(out, below=True)  # under the lock, so that all temporary files are of killed runs
        check_room(out, max(largest, LEAST), total)
        yield


@contextmanager
def readable_write_errors(out: Path) -> Generator[None]:
    """Turn a write to `out` that fails for lack of space or permission into `BadSetting`."""
    try:
        yield
    except GenError:
        raise
    except Exception as error:
        reason = why_not_written(error) or _refused_inside(out, error)
        if reason is None:
            raise
        raise BadSetting(
            f"{out}: the output cannot be written, because {reason}. What is finished is kept; fix the cause and run "
            f"the same command again, or choose another folder."
        ) from error


def _refused_inside(out: Path, error: Exception) -> str | None:
    """The reason if the system refused a file of `out`, for example for want of permission; otherwise None."""
    if not isinstance(error, OSError) or not isinstance(error.filename, str):
        return None
    inside = Path(error.filename).absolute().is_relative_to(out.absolute())
    return f"{error.filename}: {error.strerror}" if inside else None


def check_room(folder: Path, largest: int, total: int = 0) -> None:
    """Raises `BadSetting` if `folder` has no room for `largest` bytes in one file and `total` bytes in all."""
    free = shutil.disk_usage(folder).free
    if free < max(largest, total):
        raise BadSetting(
            f"{folder}: the disk is full; about {_megabytes(max(largest, total))} are needed and {_megabytes(free)} "
            f"are free. Free some space, or choose another folder."
        )
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        # Quotas and limits do not show in the free space, so one file is reserved for a moment. It has no name, so that
        # nothing is left if the process is killed.
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, largest)
    except OSError as error:
        if reason := why_not_written(error):
            raise BadSetting(
                f"{folder}: {reason}; a file of about {_megabytes(largest)} is needed. Free some space, or choose "
                f"another folder."
            ) from error


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
