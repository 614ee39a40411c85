"""Atomic writes, so that a file is complete or absent; names that fit; file times; output folders."""

import hashlib
import os
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from gen.errors import BadInput, BadSetting

MAX_NAME = 255
"""Bytes of a file name that usual file systems allow."""

FOREIGN_AGE = 24 * 3600
"""Seconds after which a temporary file of another machine counts as left by a killed process."""


@contextmanager
def write_atomically(path: Path) -> Generator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` when the block succeeds.

    On any error, Ctrl-C included, the temporary file is removed and `path` is unchanged.
    """
    with temporary(path) as partial:
        yield partial
        open_to_others(partial)
        os.replace(partial, path)


@contextmanager
def temporary(path: Path) -> Generator[Path]:
    """Yield a path beside `path` for a file that is removed after the block.

    Its name is hidden and keeps the suffix, because encoders choose the format by it; a suffix too long to be one of
    theirs is left out.
    """
    suffix = path.suffix if len(path.suffix) < 16 else ""
    partial = path.with_name(f"{_prefix()}{os.getpid()}-{uuid4().hex[:12]}.partial{suffix}")
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def open_to_others(path: Path) -> None:
    """Give a new file the permissions that all new files get here: safetensors makes its own for their owner alone."""
    with suppress(OSError):
        if path.stat().st_mode & 0o077:
            return
        # The umask says what they are, but cannot be asked without changing it for all threads.
        usual = path.with_name(f"{_prefix()}{os.getpid()}-{uuid4().hex[:12]}.partial")
        try:
            usual.touch()
            path.chmod(usual.stat().st_mode & 0o777)
        finally:
            usual.unlink(missing_ok=True)


def _prefix() -> str:
    """Of the temporary files of all processes that this one can see, by whose numbers it tells who is alive.

    The name of the machine is not enough: it may be cut, two machines may be called alike, and so may be a machine and
    the containers on it, which number their processes for themselves.
    """
    place = socket.gethostname()
    with suppress(OSError):
        place += Path("/etc/machine-id").read_text(errors="replace")
    with suppress(OSError):
        place += os.readlink("/proc/self/ns/pid")
    return f".gen-{socket.gethostname()[:32]}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}-"


def sweep(folder: Path, below: bool = False) -> None:
    """Remove temporary files in `folder` left by killed processes; with `below`, in its sub-folders too.

    Those of another machine, which may still be at work on a shared disk, are removed when they are a day old.
    """
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if below and entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.name.startswith(".gen-") and ".partial" in entry.name:
                    _remove_left(Path(entry.path))


def _remove_left(partial: Path) -> None:
    with suppress(OSError):  # another process may have removed it
        if _left_behind(partial):
            partial.unlink()


def _left_behind(partial: Path) -> bool:
    if not partial.name.startswith(_prefix()):
        return time.time() - partial.stat().st_mtime > FOREIGN_AGE
    process = partial.name.removeprefix(_prefix()).partition("-")[0]
    return process.isdecimal() and not _alive(int(process))


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


def fit_name(stem: str, ending: str) -> str:
    """`stem` + `ending`, a file name. If that has more than 255 bytes, the stem is cut and followed by its hash."""
    if len(os.fsencode(stem + ending)) <= MAX_NAME:
        return stem + ending
    ending = f"~{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
    while len(os.fsencode(stem + ending)) > MAX_NAME:
        stem = stem[:-1]
    return stem + ending


def size_of(path: Path) -> int | None:
    """Bytes of a file; None if it cannot be looked at."""
    with suppress(OSError):
        return path.stat().st_size
    return None


def keep_times(source: Path, target: Path) -> None:
    """Give `target` the access and modification times of `source`, to the nanosecond.

    Without effect where the file system does not allow it, or if one of the two has vanished.
    """
    with suppress(OSError):
        found = source.stat()
        if target.stat().st_mtime_ns != found.st_mtime_ns:
            os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))
