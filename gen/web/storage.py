"""The disk space of the page: how much uploads, jobs and results take, and the deletion of old uploads."""

import contextlib
import os
import re
import shutil
import threading
import time
from pathlib import Path

from gen.errors import BadInput

RESERVE = 500_000_000
"""Bytes that stay free on the disk, so that running jobs can finish."""
BLOCK = 4096
"""Bytes that an empty file or folder takes: a million of them must not pass for nothing."""
UPLOAD = re.compile(r"[0-9a-f]{64}")
"""Name of the folder that gradio makes for an uploaded file: its SHA-256."""
ABANDONED_SECONDS = 600.0
"""Age at which a file that an interrupted upload left is deleted."""


class Storage:
    """The folder `results`, with its sub-folders uploads and jobs."""

    def __init__(self, folder: Path, limit_gb: float) -> None:
        """`limit_gb`: most gigabytes (10^9 bytes) in the folder."""
        self.folder, self.limit = folder.resolve(), round(limit_gb * 1e9)
        self._looking = threading.Lock()
        self._used, self._until = 0, 0.0
        self._lock = threading.Lock()
        self._coming = self._arriving = 0
        """Bytes and number of the uploads that are arriving now."""
        self._arrived = 0
        """Bytes of the uploads that have arrived since the folder was looked at."""

    def used(self) -> int:
        """Bytes in the folder; looked up again after a while that grows with the number of files."""
        with self._looking:
            if time.monotonic() >= self._until:
                began, arrived = time.monotonic(), self._arrived
                self._used = _size(self.folder)
                took = time.monotonic() - began
                self._until = time.monotonic() + max(1.0, 20 * took)
                with self._lock:
                    self._arrived -= arrived
            return self._used + self._arrived

    def left(self) -> int:
        """Bytes that may still be written: under the limit, and with `RESERVE` left on the disk."""
        disk = shutil.disk_usage(self.folder).free - RESERVE
        return max(0, min(self.limit - self.used(), disk) - self._coming)

    def check(self, size: int) -> None:
        """Raises `BadInput` if so many bytes more are too many."""
        if size > self.left():
            raise BadInput("The server has no room for more files at the moment; try again later.")

    def begin(self, size: int) -> None:
        """Count an upload of so many bytes that begins to arrive."""
        with self._lock:
            self._coming, self._arriving = self._coming + size, self._arriving + 1

    def end(self, size: int) -> None:
        """It has arrived, or never will; it counts until the folder is looked at again."""
        with self._lock:
            self._coming, self._arriving, self._arrived = self._coming - size, self._arriving - 1, self._arrived + size
            if self._arriving == 0:  # gradio leaves what an interrupted upload has brought
                self._delete_loose(0.0)

    def delete_old(self, seconds: float) -> None:
        """Delete uploads of this age, those of earlier servers too, and what interrupted uploads left."""
        self._delete_loose(min(seconds, ABANDONED_SECONDS))
        now = time.time()
        for folder in (self.folder / "uploads").glob("*/"):
            if not UPLOAD.fullmatch(folder.name) or folder.is_symlink():
                continue  # somebody's own: --results may name any folder
            with contextlib.suppress(OSError):  # deleted meanwhile
                if now - max(folder.stat().st_mtime, _newest(folder)) > seconds:
                    shutil.rmtree(folder, ignore_errors=True)

    def _delete_loose(self, seconds: float) -> None:
        """Delete files of this age that lie loose in uploads: complete ones lie in a folder each."""
        for file in (self.folder / "uploads").glob("tmp*"):
            with contextlib.suppress(OSError):
                if file.is_file() and time.time() - file.stat().st_mtime >= seconds:
                    file.unlink()


def _size(folder: Path) -> int:
    """Bytes that all below a folder takes, at least `BLOCK` each; what vanishes meanwhile counts as nothing."""
    total = 0
    todo = [str(folder)]
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
                        total += BLOCK
                    else:
                        total += max(BLOCK, entry.stat(follow_symlinks=False).st_size)
        except OSError:
            continue
    return total


def _newest(folder: Path) -> float:
    """The latest change of a file in a folder; 0 if it is empty."""
    return max((file.stat().st_ctime for file in folder.rglob("*")), default=0.0)
