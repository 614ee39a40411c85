"""What the picture and clip engines share: settings, record, report, and the progress callback."""

import errno
import logging
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from gen.bars import progress_bar
from gen.devices import is_out_of_memory
from gen.disk import REASONS, why_not_written
from gen.errors import BadInput, BadSetting, GenError
from gen.interrupts import interrupts_held
from gen.locks import check_free, locked
from gen.media.files import keep_times, make_out_folder, size_of, sweep
from gen.media.folders import Job, side_files, stamp_of
from gen.media.images import Pixels
from gen.media.mark import not_photographed
from gen.output import LEAST, check_room
from gen.translation.finished import UNKNOWN, has_content, hash_of
from gen.translation.foreign import is_foreign
from gen.translation.leftovers import Leftovers
from gen.translation.outputs import entry_of, report_path
from gen.translation.record import Record, lock_of
from gen.translation.report import REPORT, Entry, Report, keep_measured, plain
from gen.translation.settings import TranslateSettings
from gen.translation.watch import Progress, Watch

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""Seconds between two saves of the report, for those who read it meanwhile; the record has every file at once."""

UNMEASURED = (
    "The run that wrote the file was killed before it noted what the file lacks of its source; --overwrite translates "
    "it again."
)


class Results(Protocol):
    """What the picture and clip engines ask of a `Run`."""

    watch: Watch

    def begun(self, jobs: Iterable[Job], settings: TranslateSettings) -> Iterator[Job]:
        """See `Run`, as for the others."""
        ...

    def finish(self, entry: Entry) -> None: ...  # noqa: D102

    def fail(self, job: Job, error: Exception, settings: TranslateSettings | None = None) -> None: ...  # noqa: D102

    def check_stop(self) -> None: ...  # noqa: D102

    def tell_frames(self, frames: int, of_frames: int, latest: tuple[Pixels, Pixels]) -> None: ...  # noqa: D102


class Run:
    """The state of one run: settings, record, report, progress."""

    def __init__(self, settings: TranslateSettings, watch: Watch | None = None) -> None:
        self.settings = settings
        self.watch = watch or Watch()
        self.report = Report(asdict(settings))
        self.record = Record(report_path(settings))
        self._leftovers = Leftovers(settings, self.record, self.report, self.watch)
        self.notes: dict[str, dict[str, Any]] = {}
        """Values for the entries of some files, by input: what the classifier saw."""
        self._next_save = time.monotonic() + SAVE_SECONDS
        self.watching = False
        """Whether the run has begun to wait for new files."""
        self.lost: str | None = None
        """Why the output can no longer be written; None while it can."""
        self.bar: tqdm[Any] = tqdm(disable=True)
        self._closed = False

    @contextmanager
    def output(self) -> Generator[None]:
        """Make the output folder, and keep other runs out of it. Raises `BadSetting`."""
        path = self.record.report
        make_out_folder(path.parent)
        if path.is_dir():
            raise BadSetting(f"{path} is a folder, but the report must be written there; choose another output folder.")
        if is_foreign(path):
            raise BadSetting(f"{path} is not a report of gen, which would replace it; choose another output folder.")
        with locked(path.parent, lock_of(path)):
            if report_path(self.settings) != path:  # a run of a folder further up has begun meanwhile
                raise BadSetting(f"{self.settings.output}: another run is writing to this folder; wait until it ends.")
            sweep(path.parent, below=path.name == REPORT)
            self.record = self._leftovers.record = Record(path)
            yield

    @contextmanager
    def reporting(self, files: int = 0) -> Generator[None]:
        """Show progress over so many files, and write the report whatever happens inside.

        Ctrl-C is how a run that watches its input ends; from any other run it is raised again. Raises `BadSetting` if
        the output could not be written to the end.
        """
        with progress_bar(total=files, unit="file", dynamic_ncols=True) as self.bar:
            try:
                yield
                self._check_lost()
                self._close()
            except BaseException as error:
                if self.settings.watch and isinstance(error, KeyboardInterrupt):
                    return
                self.report.stopped = str(error) or ("Ctrl-C" if isinstance(error, KeyboardInterrupt) else repr(error))
                if isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt(f"{self.report.summary()}; run the same command to go on") from error
                raise
            finally:
                self._close()

    def _close(self) -> None:
        """Write the report, once."""
        with interrupts_held():
            if self._closed:
                return
            self._closed = True
            if self._leftovers.removed:
                self.report.warnings.append(self._leftovers.sentence())
            self.report.entries.sort(key=lambda entry: entry.input)
            self.record.close(saved=self._save())

    def warn(self, sentence: str) -> None:
        """Say what concerns the run as a whole, in its report at the end, and now: the end may be hours away."""
        self.report.warnings.append(sentence)
        log.warning(self.watch.named(sentence))

    def expect(self, files: int) -> None:
        """Count so many files more in the progress bar."""
        self.bar.total += files
        self.bar.refresh()

    def begun(self, jobs: Iterable[Job], settings: TranslateSettings, made_with: str | None = None) -> Iterator[Job]:
        """These jobs, each recorded just before it is read; its outputs count as unfinished from then on.

        `made_with`: what they are made with, if not with what `settings` say. Raises `BadSetting` once the output can
        no longer be written: the jobs that are left would fail too.
        """
        for job in jobs:
            self._check_lost()
            digest = hash_of(job.source) if settings.hash else None
            job = replace(job, stamp=stamp_of(job.source), sha256=digest)
            try:
                self.watch.check_here(job.source)
                if not self.record.report.parent.is_dir():
                    raise FileNotFoundError(f"{self.record.report.parent} has vanished")
                if job.target.is_dir():
                    raise BadInput(f"{job.target} is a folder; rename it, or choose another output folder.")
                job.target.parent.mkdir(exist_ok=True, parents=True)
                if self.record.report.name == REPORT:
                    for smaller in self.record.smaller_reports(job.target):  # it may have begun before this run
                        check_free(smaller.parent, lock_of(smaller))
                entry = entry_of(job, "failed", settings, made_with=made_with)
                # Those of an earlier translation stay known until this one is there, see `Leftovers`.
                entry.sides = sorted({*entry.sides, *self.record.sides_of(job.target)})
                self.record.begin(entry)
            except Exception as error:  # a name too long, a folder too deep: of this file alone
                self.fail_untouched(job, error, settings)
            else:
                yield job

    def skip(self, entry: Entry) -> None:
        """Report a file that an earlier run has finished, before the work begins."""
        self._recover(entry)
        self._leftovers.remove_old_name(entry)  # the other input may have gone and come back since
        entry.output_bytes = size_of(Path(entry.output))
        self.report.add(entry)

    def _recover(self, entry: Entry) -> None:
        """Do what an earlier run could not, because it was killed between the last byte of the file and its record."""
        known = self.record.of(Path(entry.output))
        if known is not None and not known.finished:
            self._keep_times(entry)
            if (before := self.record.before(entry)) is not None:
                keep_measured(entry, before)
            elif entry.status == "skipped":
                entry.warnings.append(UNMEASURED)
            self.record.finish(entry)

    def _settle(self, entry: Entry) -> None:
        """Check that a finished file is made of the input as it still is, and give it the input's times."""
        source = Path(entry.input)
        now = stamp_of(source)
        if now is not None and entry.stamp is not None and now != entry.stamp:
            self._leftovers.remove(Path(entry.output))
            entry.status, entry.note = "failed", None
            entry.error = plain(f"{source}: the file changed while it was read; run the command again.")
        else:
            self._keep_times(entry)

    def _keep_times(self, entry: Entry) -> None:
        """The files beside the translation keep the time at which they were written, and so do all without metadata."""
        if not self.settings.strip_metadata:
            keep_times(Path(entry.input), Path(entry.output))

    def finish(self, entry: Entry) -> None:
        """Record a file, tell the watcher, and save the report now and then."""
        with interrupts_held():  # else Ctrl-C here would leave a finished file out of the report
            self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        for name, value in self.notes.get(entry.input, {}).items():
            setattr(entry, name, value)
        if entry.status in ("done", "left"):
            # As when an earlier run's output folder lies in the input folder.
            entry.warnings += not_photographed(Path(entry.input))
            self._leftovers.remove_sides(entry)
            self._leftovers.remove_old_name(entry)
            self._settle(entry)
        elif entry.status == "skipped":
            self._recover(entry)
            self._leftovers.remove_old_name(entry)
        else:
            job = Job(Path(entry.input), Path(entry.output), entry.kind)
            sides = {*entry.sides, *self.record.sides_of(job.target)}
            entry.sides = sorted(kind for kind in sides if any(path.is_file() for path in side_files(job, [kind])))
        if entry.status != "failed":
            entry.output_bytes = size_of(Path(entry.output))
        self.report.add(entry)
        try:
            self.record.finish(entry)
        except OSError as error:
            self._check_output(error)
        if entry.error:
            self._check_output()
            if not self.lost:
                self.bar.write(f"failed: {self.watch.named(entry.error)}", file=sys.stderr)
        self.bar.update()
        self.watch.tell(Progress(self.bar.n, int(self.bar.total), latest=entry))
        if time.monotonic() > self._next_save:
            self._save()

    def fail(self, job: Job, error: Exception, settings: TranslateSettings | None = None) -> None:
        """Record a file that failed; the run goes on, unless nothing can be written any more."""
        self._check_output(error)
        self.finish(entry_of(job, "failed", settings or self.settings, error=reason(job, error)))

    def refuse(self, job: Job, error: BadSetting) -> None:
        """End the run with an error that one output causes, or report it if new files come one by one."""
        if not self.watching:
            raise error
        self.fail_untouched(job, error)

    def fail_untouched(self, job: Job, error: Exception, settings: TranslateSettings | None = None) -> None:
        """Record a file that failed before its output was touched: what the record says of its maker stays true."""
        self._check_output(error)
        known, entry = self.record.of(job.target), entry_of(job, "failed", settings or self.settings)
        entry.error = reason(job, error)
        if known is not None:
            entry.made_with = known.made_with
        elif has_content(job.target):
            entry.made_with = UNKNOWN
        self.finish(entry)

    def _check_output(self, error: Exception | None = None) -> None:
        """Set `lost` if `error`, or the output folder itself, shows that no other file can be written either."""
        folder = self.record.report.parent
        why = why_not_written(error) if error is not None else None
        if why == REASONS[errno.EFBIG]:  # a limit of one file
            why = None
        try:
            check_room(folder, LEAST)
        except (GenError, OSError) as problem:
            vanished = "the folder has vanished or cannot be written"
            why = why or why_not_written(problem) or (vanished if isinstance(problem, OSError) else "the disk is full")
        if why is not None and self.lost is None:
            self.lost = (
                f"{folder}: the output cannot be written any more, because {why}. What is finished is kept; fix the "
                "cause and run the same command again."
            )

    def _check_lost(self) -> None:
        if self.lost is not None:
            raise BadSetting(self.lost)

    def _save(self) -> bool:
        """Write the report; False if nothing can be written any more: the record then keeps what is new."""
        began = time.monotonic()
        try:
            self.report.write(self.record.report, self.record.finished_entries())
            # A report of many files takes seconds: a twentieth of the time at most is spent on it.
            self._next_save = time.monotonic() + max(SAVE_SECONDS, 20 * (time.monotonic() - began))
        except BadInput as error:
            self._check_output(error)
            if self.lost is None:
                raise
            return False
        return True

    def tell_frames(self, frames: int, of_frames: int, latest: tuple[Pixels, Pixels]) -> None:
        """Tell the watcher how far the current clip is, and show its latest frame and the translation of that."""
        self.watch.tell(Progress(self.bar.n, int(self.bar.total), frames, of_frames, frame=latest))

    def check_stop(self) -> None:
        """Raises KeyboardInterrupt if the watcher wants to stop."""
        if self.watch.stop():
            raise KeyboardInterrupt("cancelled")


def reason(job: Job, error: Exception) -> str:
    """Why a job failed, in one sentence that names the file."""
    return plain(_reason(job, error))


def _reason(job: Job, error: Exception) -> str:
    if isinstance(error, GenError):
        text = str(error)
        return text if job.source.name in text or job.target.name in text else f"{job.source}: {text}"
    if is_out_of_memory(error):
        return f"{job.source}: there is too little memory for it, even frame by frame in strips; lower the resolution."
    return f"{job.source}: {(str(error).splitlines() or [''])[0] or type(error).__name__}."
