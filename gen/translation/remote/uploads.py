"""Upload the outputs of a run while it goes on."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from gen.media.folders import Job, Kind, side_files
from gen.translation.remote.outputs import Outputs
from gen.translation.report import Entry
from gen.translation.watch import Progress

WAITING = 64
"""Files that wait for their upload before the translation waits for them."""
RECORD_SECONDS = 60.0
"""Seconds between two uploads of the record, by which another machine goes on if this one is lost."""


def files_of(output: str, kind: Kind, sides: Sequence[str]) -> list[Path]:
    """The files of an entry of the report: those beside the translation, and then the translation itself."""
    return [*side_files(Job(Path(), Path(output), kind), sides), Path(output)]


class Uploads:
    """Threads that write to the store what the run reports as done."""

    def __init__(self, outputs: Outputs, release: Callable[[Entry], None]) -> None:
        """`release`: called with each entry whose files have been uploaded or have failed."""
        self._outputs, self._release = outputs, release
        self._pool = ThreadPoolExecutor(outputs.store.threads)
        self._room = threading.Semaphore(WAITING)
        self._record: Future[None] | None = None
        self._next_record = time.monotonic() + RECORD_SECONDS

    def tell(self, progress: Progress) -> None:
        """Take what is new; see `Watch.tell`. It waits while too much is waiting."""
        entry = progress.latest
        if entry is not None and entry.status in ("done", "left"):
            paths = files_of(entry.output, entry.kind, entry.sides)
            names = [path.relative_to(self._outputs.folder).as_posix() for path in paths]
            self._submit(lambda: self._upload(entry, names))
        if time.monotonic() > self._next_record and (self._record is None or self._record.done()):
            self._next_record = time.monotonic() + RECORD_SECONDS
            self._record = self._submit(self._outputs.push_reports)

    def _upload(self, entry: Entry, names: Sequence[str]) -> None:
        for name in names:
            self._outputs.push(name)
        self._release(entry)

    def _submit(self, task: Callable[[], object]) -> "Future[None]":
        def work() -> None:
            try:
                task()
            finally:
                self._room.release()

        self._room.acquire()
        return self._pool.submit(work)

    def close(self) -> None:
        """Wait until all is written, and write what has changed besides."""
        try:
            self._pool.shutdown()
        except BaseException:  # a second Ctrl-C
            self._pool.shutdown(wait=False, cancel_futures=True)
            raise
        self._outputs.push_changed()
