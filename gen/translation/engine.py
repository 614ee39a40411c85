"""What the two engines share, one model or `--model auto`: the order of a run, and waiting for new files."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from gen.errors import BadInput, BadSetting
from gen.media.folders import Job, Stamp, plan_jobs, stamp_of
from gen.media.images import STILL_FORMATS
from gen.translation.made_with import forget_weights
from gen.translation.outputs import check_outputs
from gen.translation.report import Report
from gen.translation.run import Run
from gen.translation.settings import TranslateSettings

POLL_SECONDS = 1.0
"""Seconds between two looks at a folder that is watched."""
SETTLE_SECONDS = 3.0
"""A new file is read when its size and time have been the same for so many seconds: before, it may still grow."""


class Engine(Protocol):
    """Translates the jobs of one run."""

    run: Run

    def settle(self, jobs: Sequence[Job]) -> list[Job]:
        """Report the jobs that an earlier run has finished, and return the others.

        Raises `BadSetting` for an output that is not to be replaced.
        """
        ...

    def process(self, jobs: Sequence[Job]) -> None:
        """Translate these jobs. What fails is reported, and the rest go on."""
        ...


def run_engine(engine: Engine) -> Report:
    """Translate everything that is not finished yet; with `watch`, new files as they come, until Ctrl-C.

    Raises `GenError` only for what concerns the whole run.
    """
    run = engine.run
    forget_weights()
    if run.settings.watch and not run.settings.input.is_dir():
        raise BadSetting(f"watch: {run.settings.input} must be a folder.")
    jobs = plan(run)
    with run.output():
        todo = engine.settle(jobs)
        with run.reporting(0 if run.settings.watch else len(todo)):
            if run.settings.watch:
                watch(engine, jobs, todo)
            else:
                engine.process(todo)
    return run.report


def plan(run: Run) -> list[Job]:
    """The jobs for what the input folder holds now. Raises `BadInput`."""
    settings = run.settings
    run.report.left_out = {}
    jobs = plan_jobs(settings.input, settings.output, settings.format, run.report.left_out, may_be_empty=settings.watch)
    check_outputs(jobs, settings)
    part = [f"--{name}" for name in ("start", "duration") if getattr(settings, name) is not None]
    if part and not settings.watch and not any(job.kind == "clip" for job in jobs):
        warning = f"{settings.input}: there is no clip, so {' and '.join(part)} changed nothing; they are for clips."
        run.report.warnings.append(warning)
    if settings.format != "keep" and any(j.target == settings.output and not has_format(j, settings) for j in jobs):
        warning = f"--format {settings.format} changed nothing: the name {settings.output} says what is written."
        run.report.warnings.append(warning)
    return jobs


def has_format(job: Job, settings: TranslateSettings) -> bool:
    """Whether the output is of the format that the settings ask for."""
    return STILL_FORMATS.get(job.target.suffix.lower()) == STILL_FORMATS[f".{settings.format}"]


def watch(engine: Engine, jobs: Sequence[Job], todo: Sequence[Job]) -> None:
    """Translate `todo`, those of `jobs` that are not finished, and all new files, until Ctrl-C."""
    run = engine.run
    run.watching = True
    run.bar.write(f"watching {run.settings.input}; Ctrl-C ends", file=sys.stderr)
    waiting = set(todo)
    handed = {job: stamp_of(job.source) for job in jobs if job not in waiting}
    try:
        for new in settled_jobs(run, handed):
            todo = engine.settle(new)
            run.expect(len(todo))
            engine.process(todo)
    except KeyboardInterrupt:
        if left := [job.source for job in _plan_again(run) if _is_left(run, job, handed)]:
            count = f"{len(left)} file{'s' * (len(left) > 1)} not translated yet"
            run.report.warnings.append(f"{count}, for example {left[0]}; run the same command again.")
        raise


def _is_left(run: Run, job: Job, handed: Mapping[Job, Stamp | None]) -> bool:
    """Whether a file has no translation yet, or has changed since it was handed out."""
    return not run.report.lists(job.target) or (job in handed and stamp_of(job.source) not in (None, handed[job]))


def settled_jobs(run: Run, handed: dict[Job, Stamp | None]) -> Iterator[list[Job]]:
    """Look at the input folder again and again, and give the jobs whose files are new or changed, and grow no more.

    `handed`: the jobs that have been handed out, with their files' stamps then; a new file may change the output's name
    of another. Clocks may jump: file times are only compared for equality, and waiting is measured by the monotonic
    clock.
    """
    seen: dict[Path, tuple[Stamp, float]] = {}
    while True:
        began = time.monotonic()
        new: list[Job] = []
        for job in _plan_again(run):
            stamp = stamp_of(job.source)
            if stamp is None or handed.get(job) == stamp:
                continue
            same, since = seen.setdefault(job.source, (stamp, began))
            if same != stamp:
                seen[job.source] = (stamp, began)
            elif began - since >= SETTLE_SECONDS:
                handed[job] = stamp
                new.append(job)
        pause = max(POLL_SECONDS, 9 * (time.monotonic() - began))  # a tenth of the time at most is spent on looking
        if new:
            yield new
        run.check_stop()
        time.sleep(pause)


def _plan_again(run: Run) -> list[Job]:
    """The jobs now; none while the input folder is gone, as a card that is being changed."""
    try:
        return plan(run)
    except BadInput:
        if run.settings.input.is_dir():
            raise
        return []
