"""The files that a run leaves for each input, and the report's entry of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.media.folders import Job, check_not_inputs, side_files
from gen.translation.made_with import made_with
from gen.translation.record import Record, single_report
from gen.translation.report import REPORT, Entry, Status
from gen.translation.settings import TranslateSettings


def report_path(settings: TranslateSettings) -> Path:
    """In the output folder, or beside a single output file; what reports further up list stays in the topmost."""
    out = settings.output
    spelt = (Path(os.path.abspath(out)), Path(os.path.realpath(out)))
    reports = (folder / REPORT for path in spelt for folder in reversed(path.parents))
    own = single_report(out) if is_single(settings) else out / REPORT
    return next((path for path in reports if Record(path).lists(out)), own)


def is_single(settings: TranslateSettings) -> bool:
    """Whether the output is one file that the settings name."""
    out = settings.output
    return settings.input.is_file() and bool(out.suffix) and not out.is_dir()


def outputs_of(job: Job, settings: TranslateSettings) -> list[Path]:
    """All files that the job leaves, the translation first. It is finished only when all of them exist."""
    return [job.target, *side_files(job, sides_of(settings))]


def sides_of(settings: TranslateSettings) -> list[str]:
    """Kinds of the files beside the translation, as the report names them."""
    uncertainty = [] if settings.uncertainty == "none" else [settings.uncertainty]
    return [*uncertainty, *(["compare"] if settings.compare else [])]


def entry_of(job: Job, status: Status, settings: TranslateSettings, **values: Any) -> Entry:
    """The job's entry in the report."""
    made = values.pop("made_with", None) or made_with(settings, job.kind)
    entry = Entry(str(job.source), str(job.target), job.kind, status, made, sides=sides_of(settings), **values)
    if job.stamp is not None:
        entry.input_bytes, entry.input_mtime_ns = job.stamp
    # The link that leads to the inputs may lead to others tomorrow, while these are still where they are.
    entry.input_path = str(Path(os.path.realpath(settings.input)) / job.source.relative_to(settings.input))
    entry.input_sha256 = job.sha256
    return entry


def check_outputs(jobs: Sequence[Job], settings: TranslateSettings) -> None:
    """Raises `BadInput` if an output would overwrite an input."""
    check_not_inputs([job.source for job in jobs], (path for job in jobs for path in outputs_of(job, settings)))
