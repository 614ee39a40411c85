"""Small, full and read-only disks, for root; a file size limit stands in for them elsewhere."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*words: object) -> None:
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount")
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here ({done.stderr.strip()})")


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system in memory with room for so many bytes, at `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    """Give a small disk much room."""
    _mount("-o", "remount,size=1g", folder)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """The folder cannot be written, not even by root."""
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,ro,bind", folder)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
