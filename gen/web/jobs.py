"""Long work belongs to the server: a table of jobs on disk, done one after another, whoever still looks.

A job is a folder, ROOT/ID, with job.json (this table's line), what it was given, and what it leaves. The id is secret:
who has it may see the job. After a restart, jobs that were waiting or under way are done again from where they were.
"""

import dataclasses
import json
import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from gen.errors import BadInput, BadSetting, GenError
from gen.media.files import writing

State = Literal["waiting", "running", "done", "failed", "cancelled"]
RECORD = "job.json"
SAVE_SECONDS = 1.0
SWEEP_SECONDS = 600.0
MOST_ATTEMPTS = 3
log = logging.getLogger(__name__)


@dataclass
class Job:
    """A line of the table."""

    id: str
    kind: str
    inputs: dict[str, Any]
    """What the work needs, as JSON."""
    state: State = "waiting"
    done: int = 0
    of: int = 0
    unit: str = "files"
    note: str = ""
    """What is happening, or what came of it."""
    refused: list[str] = field(default_factory=list[str])
    """Files that were not let in, a sentence each."""
    failures: list[str] = field(default_factory=list[str])
    """Files that failed in the work, a sentence each."""
    cancel: bool = False
    """Someone wants it to end."""
    attempts: int = 0
    """How often it was begun; more than once where the server stopped on the way."""
    begun: int = -1
    """How much had been done before this attempt; -1: not known yet."""
    error: str = ""
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0

    @property
    def over(self) -> bool:
        """Nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def problems(self) -> list[str]:
        """Refused and failed files, a sentence each."""
        return self.refused + self.failures

    def seconds(self) -> float:
        """Of work so far."""
        return (self.ended or time.time()) - self.started if self.started else 0.0


class Stopped(Exception):
    """Someone cancelled the job."""


class Desk:
    """What the work of a job sees of the table."""

    def __init__(self, jobs: "Jobs", job: Job) -> None:
        self._jobs, self.job = jobs, job
        self.folder = jobs.folder(job.id)
        self._saved = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the work should end."""
        return self.job.cancel or self.closing

    @property
    def closing(self) -> bool:
        """Whether the server stops; the job will go on at its next start."""
        return self._jobs.closing.is_set()

    def tell(self, done: int, of: int, note: str = "", unit: str | None = None) -> None:
        """How far the work is."""
        self.job.done, self.job.of, self.job.note = done, of, note
        self.job.unit = unit or self.job.unit
        if of and self.job.begun < 0:
            self.job.begun = done
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._jobs.save(self.job)
            self._saved = time.monotonic()

    def check(self) -> None:
        """Raises `Stopped` if the job was cancelled."""
        if self.cancelled:
            raise Stopped


Work = Callable[[Desk], None]


class Jobs:
    """The table, and a thread for each lane; jobs of a lane are done in the order in which they came."""

    def __init__(self, root: Path, work: Mapping[str, tuple[str, Work]], keep_hours: float, waiting: int) -> None:
        """`work`: by kind of job, its lane and what is to be done."""
        self.root, self.work, self.keep_seconds, self.most_waiting = root, dict(work), keep_hours * 3600, waiting
        self.closing = threading.Event()
        self._changed = threading.Condition()
        self._sweeping = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(root / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadSetting(f"results={root.parent}: another server uses this folder; choose another.") from None
        self._table: dict[str, Job] = {job.id: job for job in _stored(root) if job.kind in self.work}
        for job in self._table.values():
            _again(job)
        self.sweep()
        lanes = {lane for lane, _ in self.work.values()}
        self._threads = [threading.Thread(target=self._serve, args=(lane,), daemon=True) for lane in sorted(lanes)]
        for thread in self._threads:
            thread.start()

    # For visitors.

    def new_folder(self) -> str:
        """A fresh id with its folder, for a job's inputs or for results that need no job."""
        ident = secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")
        (self.root / ident).mkdir()
        return ident

    def submit(self, kind: str, ident: str, inputs: dict[str, Any], refused: list[str] | None = None) -> Job:
        """Put a job at the end of its lane. Raises `BadSetting` where too many wait."""
        with self._changed:
            if sum(job.state == "waiting" for job in self._table.values()) >= self.most_waiting:
                raise BadSetting(f"{self.most_waiting} jobs are waiting already; try again later.")
            job = Job(ident, kind, inputs, refused=refused or [], created=time.time())
            self._table[ident] = job
            self.save(job)
            self._changed.notify_all()
        self.sweep()
        return job

    def get(self, ident: str) -> Job:
        """Raises `BadInput` for an id that is not known (any more)."""
        job = self._table.get(ident.strip())
        if job is None:
            raise BadInput("There is no job of this number; results are kept for a day.")
        return job

    def folder(self, ident: str) -> Path:
        """Of a job or of `new_folder`. Raises `BadInput` for anything else."""
        if not re.fullmatch(r"\w{16,40}", ident, re.ASCII) or not (self.root / ident).is_dir():
            raise BadInput("There is no job of this number; results are kept for a day.")
        return self.root / ident

    def place(self, job: Job) -> int:
        """How many jobs of its lane come before it."""
        lane = self.work[job.kind][0]
        return sum(
            self.work[other.kind][0] == lane and not other.over and other.created < job.created
            for other in list(self._table.values())
        )

    def cancel(self, ident: str) -> Job:
        """Stop a job after what it is at; what is finished is kept."""
        job = self.get(ident)
        with self._changed:
            if job.state == "waiting":
                job.ended, job.state = time.time(), "cancelled"
            elif job.state == "running":
                job.cancel, job.note = True, "stopping"
            self.save(job)
        return job

    def describe(self, job: Job) -> str:
        """State, place in the queue or speed and time left, as a sentence."""
        count = f"{job.done} of {job.of} {job.unit}" if job.of else ""
        match job.state:
            case "waiting":
                return f"Waiting: {self.place(job)} before it."
            case "running":
                rate = (job.done - max(job.begun, 0)) / max(job.seconds(), 1e-9)
                left = f"{rate:.1f} {job.unit}/s, about {duration((job.of - job.done) / rate)} left" if rate > 0 else ""
                return "Running: " + ", ".join(part for part in (count, left, job.note) if part)
            case "failed":
                return f"Failed: {job.error}"
            case _:
                words = (count, f"{duration(job.seconds())}", job.note)
                return f"{job.state.capitalize()}: " + ", ".join(part for part in words if part)

    # The work.

    def _serve(self, lane: str) -> None:
        while not self.closing.is_set():
            with self._changed:
                waiting = [j for j in self._table.values() if j.state == "waiting" and self.work[j.kind][0] == lane]
                job = min(waiting, key=lambda j: j.created, default=None)
                if job is not None:
                    job.started, job.ended, job.begun = time.time(), 0.0, -1
                    job.attempts, job.state = job.attempts + 1, "running"
                elif self._changed.wait(SWEEP_SECONDS):
                    continue
            if job is None:
                self.sweep()
            else:
                self._do(job)

    def _do(self, job: Job) -> None:
        state: State = "done"
        try:
            self.save(job)  # that it was begun: a job that takes the server down with it must not do so for ever
            self.work[job.kind][1](Desk(self, job))
        except (Stopped, KeyboardInterrupt):
            state = "waiting" if self.closing.is_set() and not job.cancel else "cancelled"
        except GenError as error:
            state, job.error = "failed", str(error)
        except Exception as error:
            log.exception("job %s failed", job.id)
            text = (str(error).splitlines() or [""])[0]
            state, job.error = "failed", f"{type(error).__name__}: {text}"
        if state == "waiting":
            job.attempts -= 1  # it was asked to stop, and did
        job.ended = time.time() if state != "waiting" else 0.0
        job.state = state
        try:
            self.save(job)
        except Exception:  # the disk is full, say: the other jobs go on
            log.exception("job %s: its record cannot be written", job.id)

    def save(self, job: Job) -> None:
        """Write the job's line, whole or not at all."""
        with writing(self.root / job.id / RECORD) as partial:
            partial.write_text(json.dumps(asdict(job), indent=1))

    def sweep(self) -> None:
        """Delete what is older than a day and not under way."""
        oldest = time.time() - self.keep_seconds
        with self._sweeping:
            for folder in (f for f in self.root.iterdir() if f.is_dir()):
                job = self._table.get(folder.name)
                last = (job.ended if job.over else time.time()) if job else folder.stat().st_mtime
                if last < oldest:
                    self._table.pop(folder.name, None)
                    shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Stop the work that is under way; a later start goes on with it."""
        self.closing.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)
        self._lock.release()


def _stored(root: Path) -> list[Job]:
    names = {f.name for f in dataclasses.fields(Job)}
    jobs: list[Job] = []
    for file in sorted(root.glob(f"*/{RECORD}")):
        try:
            jobs.append(Job(**{k: v for k, v in json.loads(file.read_text()).items() if k in names}))
        except (OSError, ValueError, TypeError):
            log.warning("%s cannot be read; the job is left out", file)
    return jobs


def _again(job: Job) -> None:
    """What becomes of a job that was waiting or under way when the server stopped."""
    if job.over:
        return
    if job.cancel:
        job.ended, job.state = time.time(), "cancelled"
    elif job.attempts >= MOST_ATTEMPTS:
        job.ended, job.state = time.time(), "failed"
        job.error = f"the server stopped {MOST_ATTEMPTS} times while it was at this job."
    else:
        job.state, job.started, job.ended, job.failures = "waiting", 0.0, 0.0, []


def duration(seconds: float) -> str:
    """As 5 s, 3 min 20 s or 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
