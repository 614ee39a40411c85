"""What runs on the machines of a Ray cluster: an actor that holds models, and translates the files it is handed.

It is told to work as `gen.translation.on_ray` says, and imports no Ray itself.
"""

import os
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gen.errors import BadSetting, GenError
from gen.media.folders import Job
from gen.media.images import Pixels
from gen.media.video import CannotJoin, ClipLimits
from gen.plugins import load_plugins
from gen.translation.clip_parts import Piece, PieceDone
from gen.translation.made_with import weights_id
from gen.translation.outputs import entry_of
from gen.translation.protocol import Capabilities
from gen.translation.report import Entry
from gen.translation.run import reason
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Watch
from gen.translation.workers import Load, Local

SAME = "all machines need the same folders under the same paths."


class Order(NamedTuple):
    """What a worker needs to know besides the jobs that it is handed."""

    settings: TranslateSettings
    jobs: Sequence[Job]
    """Jobs that are known when the model is loaded, as many as decide on the runtime."""
    weights: str | None
    """`weights_id` of the model, as the run has compared finished files with it."""
    lock: Path
    owner: str | None
    """Content of the lock file, by which a worker knows the output folder; None before the run has it."""


class Collected:
    """Stands for the `Run` on a worker: collects the entries of its jobs, which have begun."""

    def __init__(self, settings: TranslateSettings, limits: ClipLimits, stopped: threading.Event) -> None:
        self.settings = settings
        self.watch = Watch(stop=stopped.is_set, limits=limits)
        self.entries: list[Entry] = []

    def begun(self, jobs: Iterable[Job], settings: TranslateSettings) -> Iterator[Job]:
        """See `Results`."""
        return iter(jobs)

    def finish(self, entry: Entry) -> None:
        """See `Results`."""
        self.entries.append(entry)

    def fail(self, job: Job, error: Exception, settings: TranslateSettings | None = None) -> None:
        """See `Results`."""
        self.finish(entry_of(job, "failed", settings or self.settings, error=reason(job, error)))

    def check_stop(self) -> None:
        """See `Results`."""
        if self.watch.stop():
            raise KeyboardInterrupt

    def tell_frames(self, frames: int, of_frames: int, latest: tuple[Pixels, Pixels]) -> None:
        """See `Results`. Nobody follows single frames."""


class Worker:
    """An actor. It returns a `GenError` instead of raising it, because Ray adds a traceback to what is raised."""

    def __init__(self, load: Load) -> None:
        self._local = Local(load)
        self._stopped = threading.Event()

    def start(self, folder: str) -> GenError | None:
        """Work in the folder that the command is run in, so that relative paths mean the same."""
        try:
            os.chdir(folder)
            load_plugins()
        except OSError as error:
            return BadSetting(f"engine ray: {folder} is not on {_here()} ({error.strerror}); {SAME}")
        except GenError as error:
            return error
        return None

    def load(self, order: Order) -> Capabilities | GenError:
        """See `Workers`."""
        try:
            return self._load(order)
        except GenError as error:
            return error

    def translate(self, jobs: Sequence[Job], order: Order, limits: ClipLimits) -> list[Entry] | GenError:
        """The entries of these jobs; after `stop`, of those that are finished."""
        collected = Collected(order.settings, limits, self._stopped)
        try:
            self._load(order)
            self._local.translate(jobs, order.settings, collected)
        except GenError as error:
            return error
        except KeyboardInterrupt:
            pass
        return collected.entries

    def translate_piece(self, piece: Piece, order: Order, limits: ClipLimits) -> PieceDone | str | GenError | None:
        """What a part of a clip becomes; or why its clip must be translated whole; None after `stop`."""
        try:
            self._load(order)
        except GenError as error:
            return error
        try:
            return self._local.translate_piece(piece, order.settings, Collected(order.settings, limits, self._stopped))
        except KeyboardInterrupt:
            return None
        except CannotJoin as error:
            return str(error)
        except Exception as error:  # who translates it whole says it again, if it is wrong there too
            return reason(piece.job, error)

    def stop(self) -> None:
        """End what a `translate` does in another thread, as by Ctrl-C."""
        self._stopped.set()

    def _load(self, order: Order) -> Capabilities:
        settings = order.settings
        if not settings.input.exists():
            raise BadSetting(f"engine ray: {settings.input} is not on {_here()}; {SAME}")
        if order.owner is not None and owner_of(order.lock) != order.owner:
            raise BadSetting(f"engine ray: {order.lock.parent} on {_here()} is another folder than here; {SAME}")
        able = self._local.load(settings, order.jobs)
        if weights_id(settings.model) != order.weights:
            raise BadSetting(f"model: {settings.model} has other weights on {_here()} than here; {SAME}")
        return able


def _here() -> str:
    return f"the machine {socket.gethostname()}"


def owner_of(lock: Path) -> str | None:
    """Content of a lock file; None if there is none."""
    with suppress(OSError):
        return lock.read_text(errors="replace")
    return None
