"""What the picture and clip engines share: settings, record, report, and the progress callback."""

import errno
import logging
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from gen.bars import progress_bar
from gen.devices import is_out_of_memory
from gen.disk import REASONS, why_not_written
from gen.errors import BadInput, BadSetting, GenError
from gen.interrupts import interrupts_held
from gen.locks import check_free, locked
from gen.media.files import fit_name, keep_times, make_out_folder, size_of, sweep
from gen.media.folders import SIDES, Job, side_files, stamp_of
from gen.media.images import Pixels
from gen.media.mark import not_photographed, read_header
from gen.media.video import UNLIMITED, ClipLimits
from gen.output import LEAST, check_room
from gen.translation.finished import UNKNOWN, has_content, hash_of, is_another
from gen.translation.foreign import is_foreign
from gen.translation.made_with import same_text
from gen.translation.outputs import entry_of, is_single, report_path
from gen.translation.record import Record, lock_of
from gen.translation.report import REPORT, Entry, Report, keep_measured, plain
from gen.translation.settings import TranslateSettings

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""Seconds between two saves of the report, for those who read it meanwhile; the record has every file at once."""

UNMEASURED = (
    "The run that wrote the file was killed before it noted what the file lacks of its source; --overwrite translates "
    "it again."
)


class Progress(NamedTuple):
    """How far a run is."""

    files: int
    """Files that are finished, whether they succeeded or not."""
    of_files: int
    frames: int = 0
    """Frames of the current clip that are finished."""
    of_frames: int = 0
    """Frames of the current clip, as far as its container says."""
    latest: Entry | None = None
    """The file that was finished just now."""
    frame: tuple[Pixels, Pixels] | None = None
    """The latest frame of the current clip and its translation."""


@dataclass(frozen=True)
class Watch:
    """Callbacks for whoever follows a run from outside, as the web page does."""

    tell: Callable[[Progress], None] = lambda progress: None
    """Called from the run's own thread after every file, and after every batch of a clip's frames."""
    stop: Callable[[], bool] = lambda: False
    """Asked before every batch. If it returns True, the run ends as by Ctrl-C and keeps what is finished."""
    limits: ClipLimits = UNLIMITED
    """What a clip may hold at most; a clip that holds more fails."""
    named: Callable[[str], str] = lambda text: text
    """Gives the text of a message other names for files."""
    removed: Callable[[Path], None] = lambda path: None
    """Called for each file of an earlier translation that the run has removed."""
    check_here: Callable[[Path], None] = lambda source: None
    """Called before an input is read. Raises `BadInput` if it could not be brought to this machine."""


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
        self.notes: dict[str, dict[str, Any]] = {}
        """Values for the entries of some files, by input: what the classifier saw."""
        self._next_save = time.monotonic() + SAVE_SECONDS
        self.watching = False
        """Whether the run has begun to wait for new files."""
        self._removed: list[Path] = []
        """Maps and comparisons that other settings had left beside translations that are new."""
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
            self.record = Record(path)
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
            if self._removed:
                self.report.warnings.append(_removal(self._removed))
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
                # Those of an earlier translation stay known until this one is there, see `_remove_old_sides`.
                entry.sides = sorted({*entry.sides, *self._known_sides(job.target)})
                self.record.begin(entry)
            except Exception as error:  # a name too long, a folder too deep: of this file alone
                self.fail_untouched(job, error, settings)
            else:
                yield job

    def skip(self, entry: Entry) -> None:
        """Report a file that an earlier run has finished, before the work begins."""
        self._recover(entry)
        self._remove_old_name(entry)  # the other input may have gone and come back since
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

    def _remove_old_sides(self, entry: Entry) -> None:
        """Remove the files beside the translation that are not of it, but of the one that it replaces."""
        job = Job(Path(entry.input), Path(entry.output), entry.kind)
        known = side_files(job, self._known_sides(job.target))
        for path in set(side_files(job, SIDES)) - set(side_files(job, entry.sides)):
            if path not in known and read_header(path).mark is None:  # where the record is silent, the mark speaks
                continue
            if not self._is_translation(path) and self._remove(path):
                self._removed.append(path)

    def _remove(self, path: Path) -> bool:
        """Remove a file of an earlier translation; whether that worked."""
        try:
            path.unlink()
        except OSError:
            return False
        self.watch.removed(path)
        return True

    def _is_translation(self, path: Path) -> bool:
        """Whether what has the name of a file beside a translation is that of an input with such a name."""
        return self.record.of(path) is not None or self.report.lists(path)

    def _remove_old_name(self, entry: Entry) -> None:
        """Remove what this input left under the name that it had until another input came that wants the same one.

        Else OUT/a.png, of a.gif, would pass for the translation of the a.png that came later; see `plan_jobs`.
        """
        source, target = Path(entry.input), Path(entry.output)
        old = Job(source, target.with_name(fit_name(source.stem, target.suffix)), entry.kind)
        if is_single(self.settings) or target.name != fit_name(source.name, target.suffix):
            return
        if old.target.name == source.name or not old.target.is_file():  # the input's own name misleads nobody
            return
        known = self.record.of(old.target)
        if known is None or known.input is None or is_another(old.target, known):
            return
        same = same_text(known.made_with, entry.made_with)  # else only `overwrite` may remove it
        if (same or self.settings.overwrite) and os.path.realpath(known.input) == os.path.realpath(source):
            beside = (path for path in side_files(old, known.sides or ()) if not self._is_translation(path))
            for path in (old.target, *beside):
                self._remove(path)
            self.report.drop(old.target)

    def _known_sides(self, target: Path) -> frozenset[str]:
        """Kinds of the files that earlier runs have left beside an output."""
        known = self.record.of(target)
        return (known and known.sides) or frozenset()

    def _settle(self, entry: Entry) -> None:
        """Check that a finished file is made of the input as it still is, and give it the input's times."""
        source = Path(entry.input)
        now = stamp_of(source)
        if now is not None and entry.stamp is not None and now != entry.stamp:
            self._remove(Path(entry.output))
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
            self._remove_old_sides(entry)
            self._remove_old_name(entry)
            self._settle(entry)
        elif entry.status == "skipped":
            self._recover(entry)
            self._remove_old_name(entry)
        else:
            job = Job(Path(entry.input), Path(entry.output), entry.kind)
            sides = {*entry.sides, *self._known_sides(job.target)}
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


def _removal(paths: Sequence[Path]) -> str:
    what = "that earlier settings had left beside translations, such as maps"
    if len(paths) == 1:
        return f"1 file {what}, was removed: {paths[0]}."
    return f"{len(paths)} files {what}, were removed, for example {paths[0]}."


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
