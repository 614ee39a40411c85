"""A lock per folder, so that two runs never write into one folder at once."""

import os
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from gen.errors import BadSetting

LOCK = ".gen.lock"
"""The file in a folder that is locked. It holds the process that has the lock, as text for the refused one."""

_held: set[int] = set()
"""File descriptors of the locks that this process holds."""


@contextmanager
def locked(folder: Path, name: str = LOCK) -> Generator[None]:
    """Hold the only lock of `folder`, an existing folder, during the block.

    The operating system releases the lock when the process ends, by SIGKILL too; a lock file that such a process left
    locks nothing. `name`: another lock file, where only one output in the folder is to be locked. Raises `BadSetting`
    at once if another run, of this process or of another, holds the lock, or if the folder cannot be written.
    """
    path = folder / name
    descriptor = _open(folder, path)
    _held.add(descriptor)
    try:
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # on a full disk the lock still holds; only its owner is not named
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(errors="replace"))
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            path.unlink(missing_ok=True)  # before the unlock: afterwards it could be the file of the next process
            _held.discard(descriptor)
            os.close(descriptor)


def check_free(folder: Path, name: str = LOCK) -> None:
    """Raises `BadSetting` if another run holds this lock of the folder."""
    if (folder / name).exists():
        with locked(folder, name):
            pass


def _open(folder: Path, path: Path) -> int:
    """The descriptor of the lock file, locked."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise BadSetting(f"{folder}: the folder cannot be written ({error.strerror}).") from error
        try:
            if not _try_lock(descriptor):
                raise BadSetting(
                    f"{folder}: another run is writing to this folder ({_owner(descriptor)}); wait until it ends, or "
                    "choose another folder."
                )
            if _is_file_of(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its owner has just removed the file: this lock would be seen by nobody


def _is_file_of(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _owner(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, 200).decode(errors="replace") or "process unknown"


def _try_lock(descriptor: int) -> bool:
    """Lock the open file; False if another run has it. True without a lock where the file system has no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # a byte past the text: Windows forbids to read locked bytes
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # some network file systems: better no lock than no work
        return True
    return True


def _close_in_child() -> None:
    """A forked child shares the lock and would keep it if its parent is killed; closing there leaves the parent's."""
    while _held:
        os.close(_held.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
