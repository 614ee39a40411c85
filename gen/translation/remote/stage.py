"""A folder of this machine that stands for the URLs of one run: gen translates there, and knows files alone.

The stage shows every file that is behind the URLs, with its size and time, but without content. From that, gen itself
tells what is finished. The content of the rest is fetched before the run, and outputs are uploaded during it. When a
file is finished and uploaded, the stage keeps its name, size and time, and of outputs what they say of themselves, so
that the next run fetches nothing again, and next to no room is taken.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from gen.errors import BadSetting, GenError
from gen.media.folders import SIDES, Job, Kind, plan_jobs, side_files
from gen.translation.finished import finished_entry
from gen.translation.foreign import is_report
from gen.translation.outputs import report_path
from gen.translation.record import Record, record_path, single_report
from gen.translation.remote.checks import check_apart, check_other_input, output_root
from gen.translation.remote.inputs import Inputs
from gen.translation.remote.names import Names
from gen.translation.remote.outputs import Outputs
from gen.translation.remote.reports import edit_reports
from gen.translation.remote.store import Store
from gen.translation.remote.uploads import Uploads, files_of
from gen.translation.report import Entry, Report
from gen.translation.settings import AUTO, TranslateSettings
from gen.translation.watch import Watch

Translate = Callable[[TranslateSettings, Watch], Report]
"""Translates files of this machine."""

FINISHED = ("done", "skipped", "left")


class Stage:
    """The stage of one run. Its `settings` name the paths that stand for the URLs."""

    def __init__(self, settings: TranslateSettings, source: Path | Store, target: Path | Store, folder: Path) -> None:
        """`source`, `target`: IN and OUT; `folder`: for the stage. Raises `GenError` if there is nothing at IN."""
        self.inputs = Inputs(source, folder / "in") if isinstance(source, Store) else None
        path = self.inputs.path if self.inputs is not None else source
        one_file = self.inputs.single if self.inputs else isinstance(path, Path) and path.is_file()
        store, name = _folder_of(target, one_file) if isinstance(target, Store) else (None, "")
        self.names = Names(
            (folder / "in", self.inputs.store.url) if self.inputs else None,
            (folder / "out", store.url) if store else None,
        )
        out = folder / "out" / name
        note = folder / "same.json"
        self.outputs = Outputs(store, folder / "out", note, self.names.in_stage, self._as_told) if store else None
        self._only = _names_of(name) if name else None
        self.settings = replace(settings, input=path, output=out if store else target)

    def translate(self, translate: Translate) -> tuple[Report, str]:
        """Translate what is not finished. Returns the report, and where its file is. Raises `GenError`."""
        with self._in_its_words():
            self._prepare()
            with self._reports_of_this_machine(), self._uploading() as watch:
                report = translate(self.settings, watch)
            for entry in report.entries:
                self._release(entry)
            self._check_report_is_there()
            return self._told(report), self.names.shown(str(report_path(self.settings)))

    @contextmanager
    def _in_its_words(self) -> Generator[None]:
        """Errors that name a path of the stage name the URL instead."""
        try:
            yield
        except GenError as error:
            raise type(error)(self.names.shown(str(error))) from error

    def _prepare(self) -> None:
        """Let the stage show what is behind the URLs, and fetch what gen will read."""
        settings = self.settings
        if self.inputs:
            self.inputs.mirror(output_root(self.inputs, self.outputs))
        if self.outputs:
            self.outputs.mirror(self._only)
        jobs = plan_jobs(settings.input, settings.output, settings.format, {})
        if self.inputs and self.outputs:
            check_apart(jobs, settings, self.inputs, self.outputs)
        if self.outputs:
            paths = (path for job in jobs for path in self._read_of(job))
            self.outputs.fetch(paths, whole=settings.verify or settings.hash or settings.model == AUTO)
        unfinished = self._unfinished(jobs)
        if self.outputs and unfinished:
            self.outputs.store.check_writable()
        if self.inputs:
            self.inputs.fetch([job.source for job in unfinished])

    def _read_of(self, job: Job) -> list[Path]:
        """The outputs of which gen reads what is there before it replaces them."""
        beside = side_files(job, SIDES)
        return beside if self.settings.overwrite else [job.target, *beside]

    def _unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """The jobs whose inputs gen will read. Raises `BadSetting` for an output of another input."""
        settings = self.settings
        if settings.overwrite:
            return list(jobs)
        record = Record(report_path(settings))
        for job in jobs:
            check_other_input(job, record)
        if settings.model == AUTO or settings.hash:
            return list(jobs)
        return [job for job in jobs if not _finished(job, settings, record)]

    @contextmanager
    def _uploading(self) -> Generator[Watch]:
        """Upload what is finished within the block, however it ends."""
        watch = Watch(named=self.names.shown)
        if self.inputs:
            watch = replace(watch, check_here=self.inputs.check_here)
        if not self.outputs:
            yield watch
            return
        uploads = Uploads(self.outputs, self._release)
        try:
            yield replace(watch, tell=uploads.tell, removed=self.outputs.removed)
        finally:
            uploads.close()

    @contextmanager
    def _reports_of_this_machine(self) -> Generator[None]:
        """Where OUT is a folder of this machine, its report names the stage within the block, and URLs outside."""
        if self.outputs:
            yield
            return
        edit_reports(report_path(self.settings), self.names.in_stage)
        try:
            yield
        finally:
            with suppress(BadSetting):  # another run has begun since; the next of this one will do it
                edit_reports(report_path(self.settings), self._as_told)

    def _as_told(self, content: Any) -> Any:
        """The content of a report or of a line of a record, as readers of OUT need it."""
        if is_report(content):
            files = [self._as_uploaded(file) for file in content["files"]]
            totals = {status: sum(file["status"] == status for file in files) for status in content["totals"]}
            unread = self.inputs.unread if self.inputs else {}
            left_out = {**content.get("left_out", {}), **unread}
            content = {**content, "totals": totals, "files": files, "left_out": left_out}
        return self.names.in_report(content)

    def _as_uploaded(self, file: dict[str, Any]) -> dict[str, Any]:
        why = self._why_not_uploaded(str(file["output"]), file["kind"], file.get("sides") or [])
        return file if why is None or file["status"] not in FINISHED else {**file, "status": "failed", "error": why}

    def _why_not_uploaded(self, output: str, kind: Kind, sides: Sequence[str]) -> str | None:
        """Why an output or a file beside it is not behind the URL; None if they are."""
        if not self.outputs or not self.outputs.failed:
            return None
        names = [_inside(path, self.outputs.folder) for path in files_of(output, kind, sides)]
        return next((self.outputs.failed[name] for name in names if name in self.outputs.failed), None)

    def _release(self, entry: Entry) -> None:
        """Free the room of what is finished and uploaded.

        Not with model auto, whose next run looks at all files again where it has another classifier.
        """
        if self.settings.model == AUTO or entry.status not in FINISHED:
            return
        if self._why_not_uploaded(entry.output, entry.kind, entry.sides):
            return
        if self.inputs:
            self.inputs.release(Path(entry.input))
        if self.outputs:
            for path in files_of(entry.output, entry.kind, entry.sides):
                self.outputs.release(path)

    def _check_report_is_there(self) -> None:
        """Raises `BadSetting` if the report could not be uploaded: nothing else says what was done."""
        name = _inside(report_path(self.settings), self.outputs.folder) if self.outputs else ""
        if self.outputs and name in self.outputs.failed:
            raise BadSetting(self.outputs.failed[name])

    def _told(self, report: Report) -> Report:
        """The report with URLs, and with what was not uploaded as failed."""
        for entry in report.entries:
            why = self._why_not_uploaded(entry.output, entry.kind, entry.sides)
            if why is not None and entry.status in FINISHED:
                entry.status, entry.error = "failed", why
            vars(entry).update(self.names.in_report(vars(entry)))
        report.warnings = self.names.in_report(report.warnings)
        if self.inputs:
            report.left_out |= self.inputs.unread
        return report


def _folder_of(target: Store, one_file: bool) -> tuple[Store, str]:
    """The folder that outputs are written to, and the output's name there if OUT is one file. Raises `BadSetting`."""
    kind = target.kind()
    folder, name = target.parent()
    if one_file and kind != "directory" and Path(name).suffix:
        return folder, name
    if kind == "file":
        raise BadSetting(f"out: {target.url} is a file; give a folder.")
    return target, ""


def _names_of(name: str) -> list[str]:
    """The files that a run leaves whose output is this one."""
    report = single_report(Path(name))
    kinds: tuple[Kind, ...] = ("still", "clip")
    beside = {path.name for kind in kinds for path in side_files(Job(Path(), Path(name), kind), SIDES)}
    return [name, *sorted(beside), report.name, record_path(report).name]


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _finished(job: Job, settings: TranslateSettings, record: Record) -> bool:
    try:
        return finished_entry(job, settings, record) is not None
    except BadSetting:  # which the run itself will say, or report
        return False
