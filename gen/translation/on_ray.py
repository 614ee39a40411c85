"""`--engine ray`: hands the files of a run to the machines of a Ray cluster. Ray is imported only when it is used.

The process of the command keeps the record, the report and the lock, as without Ray. It hands files to workers, actors
of Ray that have the model loaded, and records the entries that they give back: a file is finished when its entry has
arrived. The files of a worker that ends, or whose machine is lost, are handed out again. Where there are more workers
than clips, long clips are handed out in parts, which this process joins (`gen.translation.clip_parts`).
"""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from gen.errors import BadInput, BadSetting, GenError
from gen.interrupts import interrupts_held
from gen.media.files import sweep
from gen.media.folders import Job
from gen.media.video import CannotJoin
from gen.translation.clip_parts import Piece, PieceDone, Plan, SplitClip, plan_parts
from gen.translation.made_with import weights_id
from gen.translation.outputs import report_path
from gen.translation.protocol import Capabilities
from gen.translation.ray_worker import Order, Worker, owner_of
from gen.translation.record import lock_of
from gen.translation.report import REPORT
from gen.translation.run import Results
from gen.translation.runtimes.choice import LEAST
from gen.translation.settings import TranslateSettings
from gen.translation.workers import Load

log = logging.getLogger(__name__)

TRIES = 3
"""So often a file is handed out if the workers that translate it end; then it fails."""
GROUP = 16
"""Pictures that are handed out at once, so that a worker decodes and encodes beside the network. Clips go alone."""
STOP_SECONDS = 30.0
"""How long a run that ends early waits for what workers are writing."""
CONNECT_SECONDS = 10.0
WAIT_SECONDS = 60.0
"""For a worker that starts, before a warning. To start takes some seconds, unless the cluster has other work."""
STOPPING = "stopping"
"""The thread of a worker that hears of it while another one translates."""
LOGS = "Ray's logs, in /tmp/ray/session_latest/logs on its machines, say why."
TOLD = ("GEN_PLUGINS", "GEN_WEIGHTS")
"""Environment variables that workers on other machines need too."""

Unit = list[Job] | Piece
"""What a worker is handed at once: files, or a part of a clip."""


@contextmanager
def workers_on_ray(settings: TranslateSettings, load: Load) -> Generator["OnRay"]:
    """Workers of the cluster that the settings name, within the block. Raises `BadSetting` if there is none."""
    if settings.address != "local":
        _use_token()
    try:
        import ray
    except ImportError as error:
        raise BadSetting("engine ray: the package ray is not installed; run pip install ray.") from error
    own = not ray.is_initialized()
    workers = OnRay(ray, settings, load)
    try:
        yield workers
    finally:
        workers.close()
        if own:
            ray.shutdown()


def _use_token() -> None:
    """Show the cluster this user's token, if there is one.

    `ray start` asks for the token wherever it finds one, but `ray.init` with an address does not show it by itself. Ray
    reads the environment when it is imported; where that is done, it is left to whoever did.
    """
    if "ray" in sys.modules:
        return
    known = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if known or (Path.home() / ".ray" / "auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def connect(ray: Any, address: str | None) -> None:
    """Join a cluster, or start one on this machine alone, unless this process has done so. Raises `BadSetting`."""
    if ray.is_initialized():
        return
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        host, _, port = (address or os.environ.get("RAY_ADDRESS") or "").rpartition(":")
        if host and port.isdecimal() and "/" not in host:  # Ray itself would try for minutes, and then end the process
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        place = address or os.environ.get("RAY_ADDRESS") or "this machine"
        raise BadSetting(
            f"address: no Ray cluster can be joined at {place} ({str(error).splitlines()[0]}); `ray start --head` "
            "starts one and says its address. If one runs there, all machines need the same file ~/.ray/auth_token."
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process without a report


class OnRay:
    """Hands jobs to the workers of a cluster, which is joined when there is something to do. See `Workers`."""

    def __init__(self, ray: Any, settings: TranslateSettings, load: Load) -> None:
        self._ray, self._settings, self._load = ray, settings, load
        errors = ray.exceptions
        self._lost = (
            errors.RayActorError,
            errors.NodeDiedError,
            errors.ObjectLostError,
            errors.OutOfMemoryError,
            errors.WorkerCrashedError,
        )
        self._actor: Any = None
        self._most = 0
        """Workers that the cluster has room for: one a GPU or, without GPUs, one a CPU."""
        self._orders: dict[str, Any] = {}
        self._starting: dict[Any, Any] = {}
        """Workers, by the answer that they owe. They start when there is room for them."""
        self._busy: dict[Any, tuple[Any, Unit]] = {}
        self._idle: list[Any] = []
        self._again: list[Unit] = []
        self._tries: Counter[tuple[Job, int]] = Counter()
        """By job, and by the number of the piece."""
        self._splits: dict[Job, SplitClip] = {}
        """Clips whose parts are under way."""

    def load(self, settings: TranslateSettings, jobs: Sequence[Job] = ()) -> Capabilities:
        """See `Workers`. One worker loads the model here; the others do when they are handed files for it."""
        self._join()
        report = report_path(settings)
        lock = report.parent / lock_of(report)
        order = self._ray.put(Order(settings, list(jobs[:LEAST]), weights_id(settings.model), lock, owner_of(lock)))
        self._orders[settings.model] = order
        for _ in range(TRIES):
            self._start(1)
            began = time.monotonic()
            while not self._idle:
                self._wait()
                if time.monotonic() - began > WAIT_SECONDS:
                    began = float("inf")
                    log.warning("the Ray cluster has not started a worker yet; are its CPUs or GPUs all in use?")
            worker = self._idle.pop()
            with suppress(*self._lost):
                able = self._answer(worker.load.remote(order))
                self._idle.append(worker)
                return able
        raise BadSetting(f"engine ray: {TRIES} workers ended while they loaded {settings.model}; {LOGS}")

    def translate(self, jobs: Sequence[Job], settings: TranslateSettings, run: Results) -> None:
        """See `Workers`."""
        plans = self._plans(jobs, settings, run)
        waiting, lost = self._units(jobs, plans, settings, run), False
        wanted = len(jobs) + sum(len(plan.pieces) - 1 for plan in plans.values())
        self._tries.clear()
        try:
            while True:
                self._start(wanted)
                while self._idle and (unit := self._again.pop() if self._again else next(waiting, None)):
                    self._hand_out(unit, settings, run)
                if self._idle and not self._busy:
                    return
                for answer in self._wait():
                    with interrupts_held():  # else Ctrl-C here would leave translated files out of the report
                        lost |= not self._collect(answer, settings, run)
                self._join_clips(settings, run)
                run.check_stop()
        finally:
            self._stop(run)
            for job in list(self._splits):
                self._splits.pop(job).close()
            if lost or plans:  # a worker may have written a part of a clip that was given up meanwhile
                report = report_path(settings)
                sweep(report.parent, below=report.name == REPORT)

    def close(self) -> None:
        """End the workers. Without effect if Ray itself has ended."""
        if not self._ray.is_initialized():
            return
        for worker in [*self._starting.values(), *(worker for worker, _ in self._busy.values()), *self._idle]:
            self._ray.kill(worker)

    def _join(self) -> None:
        if self._actor is not None:
            return
        connect(self._ray, self._settings.address)
        there = self._ray.cluster_resources()
        on_gpu = self._settings.device != "cpu" and there.get("GPU", 0) >= 1
        self._most = int(there.get("GPU" if on_gpu else "CPU", 0))
        if self._most < 1:
            raise BadSetting("engine ray: the cluster has no CPUs to work on; see `ray start --num-cpus`.")
        told = {name: os.environ[name] for name in TOLD if name in os.environ}
        options = {"num_cpus": 1, "num_gpus": int(on_gpu), "concurrency_groups": {STOPPING: 1}}
        self._actor = self._ray.remote(**options, runtime_env={"env_vars": told} if told else None)(Worker)

    def _plans(self, jobs: Sequence[Job], settings: TranslateSettings, run: Results) -> dict[Job, Plan]:
        """The clips that are split, if there are fewer clips than workers."""
        clips = [job for job in jobs if job.kind == "clip"]
        share = self._most // max(1, len(clips))
        plans = {clip: plan_parts(clip, settings, run.watch.limits, share) for clip in clips} if share > 1 else {}
        return {clip: plan for clip, plan in plans.items() if plan is not None}

    def _units(
        self, jobs: Sequence[Job], plans: Mapping[Job, Plan], settings: TranslateSettings, run: Results
    ) -> Iterator[Unit]:
        """What is handed out at once. Clips first, which take longest; few pictures are spread over all workers."""
        for clip in run.begun([job for job in jobs if job.kind == "clip"], settings):
            if plan := plans.get(clip):
                self._splits[clip] = SplitClip(clip, plan, settings)
                yield from (piece for piece in plan.pieces if clip in self._splits)
            else:
                yield [clip]
        stills = [job for job in jobs if job.kind == "still"]
        begun, size = iter(run.begun(stills, settings)), max(1, min(GROUP, len(stills) // (4 * self._most)))
        while unit := list(islice(begun, size)):
            yield unit

    def _start(self, wanted: int) -> None:
        """Have so many workers, as far as the cluster has room."""
        there = len(self._starting) + len(self._busy) + len(self._idle)
        for _ in range(min(wanted, self._most) - there):
            worker = self._actor.remote(self._load)
            self._starting[worker.start.remote(os.getcwd())] = worker

    def _wait(self) -> list[Any]:
        """Wait for a second at most: for workers that start, which are idle then, and for answers, which it returns."""
        ready, _ = self._ray.wait([*self._busy, *self._starting], timeout=1.0)
        for answer in ready:
            if answer in self._starting:
                worker = self._starting.pop(answer)
                try:
                    self._answer(answer)
                    self._idle.append(worker)
                except self._lost as error:  # no other is started for it, which might end alike
                    self._most -= 1
                    if self._most < 1:
                        raise BadSetting(f"engine ray: all workers ended while they started; {LOGS}") from error
        return [answer for answer in ready if answer in self._busy]

    def _hand_out(self, unit: Unit, settings: TranslateSettings, run: Results) -> None:
        """Give a worker that is idle something to do."""
        if isinstance(unit, Piece) and unit.job not in self._splits:  # its clip is translated whole, or has failed
            return
        worker, order, limits = self._idle.pop(), self._orders[settings.model], run.watch.limits
        if isinstance(unit, Piece):
            answer = worker.translate_piece.remote(self._splits[unit.job].with_files(unit), order, limits)
        else:
            answer = worker.translate.remote(unit, order, limits)
        self._busy[answer] = (worker, unit)

    def _collect(self, answer: Any, settings: TranslateSettings, run: Results) -> bool:
        """Record what a worker has done. False if it has ended: its jobs are then handed out again, one by one."""
        worker, unit = self._busy.pop(answer)
        try:
            done = self._answer(answer)
        except self._lost:
            self._ray.kill(worker)  # it may only be out of reach
            log.warning("a worker of the Ray cluster has ended; other workers take its files over")
            for part in [unit] if isinstance(unit, Piece) else [[job] for job in unit]:
                self._try_again(part, settings, run)
            return False
        self._idle.append(worker)
        if isinstance(unit, Piece):
            self._collect_piece(unit, done)
        else:
            for entry in done:
                run.finish(entry)
        return True

    def _try_again(self, unit: Unit, settings: TranslateSettings, run: Results) -> None:
        """Hand a job or a piece out again that has not survived its worker; but not for ever."""
        job, number = (unit.job, unit.number) if isinstance(unit, Piece) else (unit[0], 0)
        self._tries[job, number] += 1
        if self._tries[job, number] < TRIES:
            self._again.append(unit)
        elif not isinstance(unit, Piece) or job in self._splits:
            self._drop(job)
            why = f"{job.source}: {TRIES} workers ended while they translated it, as for want of memory; {LOGS}"
            run.fail(job, BadInput(why), settings)

    def _collect_piece(self, piece: Piece, done: PieceDone | str | None) -> None:
        """Take a part of a clip, or why the clip must be translated whole."""
        split = self._splits.get(piece.job)
        if split is None or done is None:
            return
        try:
            if isinstance(done, str):
                raise CannotJoin(done)
            split.add(piece, done)
        except CannotJoin as error:
            self._hand_out_whole(split.job, error)

    def _hand_out_whole(self, job: Job, why: CannotJoin) -> None:
        log.warning(f"{job.source} is translated by one worker: it cannot be joined from parts ({why})")
        self._drop(job)
        self._again.append([job])

    def _drop(self, job: Job) -> None:
        """Forget the parts of a clip, if it has any."""
        if job in self._splits:
            self._splits.pop(job).close()

    def _join_clips(self, settings: TranslateSettings, run: Results) -> None:
        """Join and record the clips of which all parts are there."""
        for split in [split for split in self._splits.values() if split.complete]:
            try:
                with ExitStack() as closing:  # Ctrl-C waits once all is written
                    run.finish(split.join(run, closing))
            except CannotJoin as error:
                self._hand_out_whole(split.job, error)
            except Exception as error:  # as where a clip is translated whole
                run.fail(split.job, error, settings)
            self._drop(split.job)

    def _answer(self, answer: Any) -> Any:
        """What a worker returned. Raises what it returned as a `GenError`."""
        value = self._ray.get(answer)
        if isinstance(value, GenError):
            raise value
        return value

    def _stop(self, run: Results) -> None:
        """End the work that is going on, if Ctrl-C or an error has ended the run, and record what is finished."""
        if not self._busy:
            return
        for worker, _ in self._busy.values():
            worker.stop.options(concurrency_group=STOPPING).remote()
        ready, _ = self._ray.wait(list(self._busy), num_returns=len(self._busy), timeout=STOP_SECONDS)
        for answer in ready:
            if isinstance(self._busy[answer][1], Piece):  # its clip is begun anew next time
                continue
            with interrupts_held(), suppress(*self._lost, GenError):
                for entry in self._answer(answer):
                    run.finish(entry)
