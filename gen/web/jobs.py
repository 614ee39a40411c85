"""Background jobs, persisted on disk; they survive closed tabs and restarts of the server.

A job is a folder, ROOT/ID, with its record (job.json, see `gen.web.job`), its inputs and its results. The id is secret:
whoever has it may see the job. After a restart, jobs that were waiting or running are run again and continue from their
files.
"""

import json
import logging
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gen.errors import BadInput, BadSetting, GenError
from gen.locks import locked
from gen.media.files import make_out_folder, writing
from gen.web.duration import duration
from gen.web.job import RECORD, Job, State, requeue, stored_jobs

JOB_ID = re.compile(r"[A-Za-z0-9]{22}")
"""Name of a folder that `new_folder` makes."""
LOCK = ".lock"
"""In the folder of all jobs; servers of earlier versions lock the same file."""
SAVE_SECONDS = 1.0
"""Shortest time between two writes of a running job's progress."""
CLEAN_SECONDS = 600.0
"""How often an idle server deletes old results."""
UNKNOWN = "No job has this number; old jobs are deleted automatically."
log = logging.getLogger(__name__)


class Stopped(Exception):
    """Raised by a job that ends early because it was cancelled or the server stops."""


class JobContext:
    """What a running job gets: its record and folder, a way to report progress, and the signal to stop."""

    def __init__(self, jobs: "Jobs", job: Job) -> None:
        self._jobs, self.job = jobs, job
        self.folder = jobs.folder(job.id)
        self._saved = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the job should stop as soon as it can."""
        return self.job.cancel or self.closing

    @property
    def closing(self) -> bool:
        """Whether the server is stopping; the job will continue after the next start."""
        return self._jobs.closing.is_set()

    def report(self, done: int, of: int, note: str = "", unit: str | None = None) -> None:
        """Report progress: `done` of `of` units. `of`=0: not known yet."""
        self.job.done, self.job.of, self.job.note = done, of, note
        self.job.unit = unit or self.job.unit
        # A resumed job starts with its finished files. They must not count towards its speed.
        if of and self.job.begun < 0:
            self.job.begun = done
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._jobs.save(self.job)
            self._saved = time.monotonic()

    def stop_if_cancelled(self) -> None:
        """Raises `Stopped` if the job was cancelled or the server is stopping."""
        if self.cancelled:
            raise Stopped


Run = Callable[[JobContext], None]


class Jobs:
    """The job table and one thread for each lane; the jobs of a lane run one at a time, oldest first."""

    def __init__(
        self,
        root: Path,
        kinds: Mapping[str, tuple[str, Run]],
        keep_hours: float,
        waiting: int,
        plain: Callable[[str], str] = str,
        clean: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`kinds`: for each kind of job its lane and its function. `waiting`: most jobs that may wait.

        `plain` makes the message of an error fit for visitors; `clean` deletes other files of an age in seconds.
        Raises `BadSetting` if `root` cannot be written, or if another server uses it.
        """
        self.plain, self.clean = plain, clean
        self.root, self.kinds, self.keep_seconds, self.max_waiting = root, dict(kinds), keep_hours * 3600, waiting
        self.closing = threading.Event()
        self._changed = threading.Condition()
        self._deleting = threading.Lock()
        self._saving = threading.Lock()
        self._reserved: set[str] = set()
        """Folders whose jobs are being prepared; they count as waiting."""
        self._stack = ExitStack()
        make_out_folder(root)
        self._stack.enter_context(locked(root, LOCK))
        self._table: dict[str, Job] = {job.id: job for job in stored_jobs(root) if job.kind in self.kinds}
        for job in self._table.values():
            requeue(job)
        self.delete_old()
        lanes = {lane for lane, _ in self.kinds.values()}
        self._threads = [threading.Thread(target=self._run_lane, args=(lane,), daemon=True) for lane in sorted(lanes)]
        for thread in self._threads:
            thread.start()

    # For the page.

    def new_folder(self) -> str:
        """A new id with its folder, for a job's inputs or for results that need no job."""
        # Letters and digits only: easy to select and copy, and safe as the name of a folder (see `folder`).
        job_id = secrets.token_urlsafe(16).replace("-", "a").replace("_", "b")
        (self.root / job_id).mkdir()
        return job_id

    @contextmanager
    def preparing(self) -> Generator[str]:
        """A place in the queue, and the id of a folder for the job's inputs; call `submit` within the block.

        Raises `BadSetting` if too many jobs are waiting, before anything is copied. If the block fails, the folder is
        deleted.
        """
        with self._changed:
            self._check_waiting()
            job_id = self.new_folder()
            self._reserved.add(job_id)
        try:
            yield job_id
        except BaseException:
            if job_id not in self._table:
                shutil.rmtree(self.root / job_id, ignore_errors=True)
            raise
        finally:
            self._reserved.discard(job_id)

    def _check_waiting(self) -> None:
        waiting = sum(job.state == "waiting" for job in self._table.values())
        if waiting + len(self._reserved) >= self.max_waiting:
            raise BadSetting(f"{self.max_waiting} jobs are already waiting; try again later.")

    def submit(self, kind: str, job_id: str, inputs: dict[str, Any], refused: list[str] | None = None) -> Job:
        """Add a job to its lane. `job_id`: from `preparing`. Raises `BadSetting` if too many jobs are waiting."""
        with self._changed:
            self._reserved.discard(job_id)
            self._check_waiting()
            job = Job(job_id, kind, inputs, refused=refused or [], created=time.time())
            self.save(job)  # first: on a full disk it fails, and then there is no job
            self._table[job_id] = job
            self._changed.notify_all()
        self.delete_old()
        return job

    def run_again(self, job_id: str, inputs: dict[str, Any]) -> Job:
        """Put a job that has ended back into its lane, with these inputs: it goes on from its files.

        Raises `BadInput` for an unknown job or one that has not ended, `BadSetting` if too many jobs are waiting.
        """
        with self._changed:
            job = self.get(job_id)
            if not job.over:
                raise BadInput("This job has not ended yet.")
            self._check_waiting()
            before = asdict(job)
            job.inputs, job.cancel, job.attempts, job.error, job.note = inputs, False, 0, "", ""
            job.ran, job.started, job.ended, job.created = job.all_seconds(), 0.0, 0.0, time.time()
            job.state = "waiting"
            try:
                self.save(job)
            except Exception:  # for example a full disk: it stays as it was
                vars(job).update(before)
                raise
            self._changed.notify_all()
        return job

    def get(self, job_id: str) -> Job:
        """A job by its id. Raises `BadInput` if there is none, or none any more."""
        job = self._table.get(str(job_id).strip())
        if job is None:
            raise BadInput(UNKNOWN)
        return job

    def folder(self, job_id: str) -> Path:
        """The folder of a job or of `new_folder`. Raises `BadInput` for anything else."""
        # The id comes from a visitor and becomes a path: only the characters of a token are accepted.
        if not re.fullmatch(r"\w{16,40}", job_id, re.ASCII) or not (self.root / job_id).is_dir():
            raise BadInput(UNKNOWN)
        return self.root / job_id

    def queue_position(self, job: Job) -> int:
        """Number of unfinished jobs ahead of it in its lane."""
        lane = self.kinds[job.kind][0]
        return sum(
            self.kinds[other.kind][0] == lane and not other.over and other.created < job.created
            for other in list(self._table.values())
        )

    def cancel(self, job_id: str) -> Job:
        """Cancel a job. A running job stops after its current step and keeps finished results.

        So does one that waits to go on after a restart: in its turn, it packs what it has done before.
        """
        job = self.get(job_id)
        with self._changed:
            if job.state == "waiting" and not job.done:
                job.ended, job.state = time.time(), "cancelled"
            elif not job.over:
                job.cancel, job.note = True, "stopping"
            self._try_to_save(job)
        return job

    def describe(self, job: Job) -> str:
        """The state of a job as one line: its queue position, or progress, speed and time left."""
        count = f"{job.done} of {job.of} {job.unit}" if job.of > 0 else f"{job.done} {job.unit}" if job.done else ""
        match job.state:
            case "waiting":
                stopping = ", stopping" if job.cancel else ""
                return f"Waiting: {self.queue_position(job)} ahead in the queue{stopping}."
            case "running":
                parts = (count, *self._speed(job), job.note)
                return "Running: " + ", ".join(part for part in parts if part)
            case "failed":
                return f"Failed: {job.error}"
            case _:
                ran = duration(job.all_seconds()) if job.all_seconds() else "it had not begun"
                return f"{job.state.capitalize()}: " + ", ".join(part for part in (count, ran, job.note) if part)

    def _speed(self, job: Job) -> Iterator[str]:
        """How fast a running job is, and how long it will take, as far as that is known."""
        rate = (job.done - max(job.begun, 0)) / max(job.seconds(), 1e-9)
        if rate >= 0.05:  # runs of minutes each would be 0.0 a second
            yield f"{rate:.1f} {job.unit}/s"
        if rate > 0 and job.of > job.done:  # clips may not know their length, or may be longer than they say
            yield f"about {duration((job.of - job.done) / rate)} left"

    # For the threads.

    def _run_lane(self, lane: str) -> None:
        while not self.closing.is_set():
            job = self._next(lane)
            if job is None:
                self.delete_old()
            else:
                self._run(job)

    def _next(self, lane: str) -> Job | None:
        """Take the oldest waiting job of a lane. None if there was none for `CLEAN_SECONDS`, or the server stops."""
        with self._changed:
            # wait_for looks before it waits: a notice that came while this thread was busy is not lost.
            self._changed.wait_for(lambda: self.closing.is_set() or self._waiting(lane), CLEAN_SECONDS)
            waiting = self._waiting(lane)
            if self.closing.is_set() or not waiting:
                return None
            job = min(waiting, key=lambda j: j.created)
            job.started, job.ended, job.begun, job.done = time.time(), 0.0, -1, 0
            job.attempts, job.state = job.attempts + 1, "running"
            return job

    def _waiting(self, lane: str) -> list[Job]:
        return [j for j in self._table.values() if j.state == "waiting" and self.kinds[j.kind][0] == lane]

    def _run(self, job: Job) -> None:
        state: State = "done"
        try:
            self.save(job)  # counts the attempt before it runs, so that a job that crashes the server is given up
            self.kinds[job.kind][1](JobContext(self, job))
        except (Stopped, KeyboardInterrupt):
            state = "waiting" if self.closing.is_set() and (job.done or not job.cancel) else "cancelled"
        except GenError as error:
            state, job.error = "failed", self.plain(str(error))
        except Exception as error:
            log.exception("job %s failed", job.id)
            text = (str(error).splitlines() or [""])[0]
            state, job.error = "failed", self.plain(f"{type(error).__name__}: {text}")
        if state == "waiting":
            job.attempts -= 1  # it stopped as asked, so this attempt did not crash
            job.ran, job.started = job.all_seconds(), 0.0
        # `state` is set last: pages read the record without a lock and take `over` to mean that the rest is final.
        job.ended = time.time() if state != "waiting" else 0.0
        job.state = state
        self._try_to_save(job)

    def _try_to_save(self, job: Job) -> None:
        try:
            self.save(job)
        except Exception:  # for example a full disk; the lanes must go on with their other jobs
            log.exception("job %s: its record cannot be written", job.id)

    def save(self, job: Job) -> None:
        """Write the job's record, atomically."""
        with self._saving:  # the last to write is the last to have looked
            record = asdict(job) | ({"ran": job.all_seconds()} if job.state == "running" else {})
            if self.closing.is_set() and job.state == "running":
                # The supervisor that asked the server to stop may kill it before this job has noticed: what the record
                # says now must be right then. A stop is no crash, so the attempt does not count.
                record |= {"state": "waiting", "attempts": job.attempts - 1}
            with writing(self.root / job.id / RECORD) as partial:
                partial.write_text(json.dumps(record, indent=1))

    def delete_old(self) -> None:
        """Delete the folders of jobs that ended more than `keep_hours` ago, and loose folders of that age."""
        oldest = time.time() - self.keep_seconds
        with self._deleting:
            try:
                for folder in self.root.glob("*/"):
                    # What else lies there is somebody's own: --results may name any folder.
                    ours = folder.name in self._table or JOB_ID.fullmatch(folder.name)
                    if ours and not folder.is_symlink() and self._last_used(folder) < oldest:
                        self._table.pop(folder.name, None)
                        shutil.rmtree(folder, ignore_errors=True)
                self.clean(self.keep_seconds)
            except OSError:  # for example too many open files; the lanes must go on, and it is tried again
                log.exception("old results cannot be deleted")

    def _last_used(self, folder: Path) -> float:
        job = self._table.get(folder.name)
        if job is not None:
            return job.ended if job.over else time.time()
        try:
            return folder.stat().st_mtime
        except FileNotFoundError:  # deleted meanwhile: see `preparing`
            return time.time()

    def close(self) -> None:
        """Stop all lanes. Running jobs are stored as waiting and continue after the next start."""
        self.closing.set()
        for job in list(self._table.values()):
            if job.state == "running":
                self._try_to_save(job)
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)
        self._stack.close()
