"""Whether an earlier run has finished a file: it can be read, and was made with these settings and of this input."""

import filecmp
import hashlib
import os
from dataclasses import replace
from pathlib import Path

from gen.errors import BadSetting
from gen.media.folders import SIDE_MARKS, Job, side_files, stamp_of
from gen.media.mark import Header, Mark, check_whole, read_header, source_id
from gen.translation.made_with import BF16, made_with, same_made_with
from gen.translation.outputs import entry_of, outputs_of, sides_of
from gen.translation.record import Known, Record
from gen.translation.report import Entry
from gen.translation.settings import TranslateSettings

UNKNOWN = "something unknown"
"""`made_with` of a file under an output's name that no run has made, as far as is known."""

OTHER_FOLDER = "choose another output folder, or set overwrite to replace it."


def finished_entry(job: Job, settings: TranslateSettings, record: Record) -> Entry | None:
    """The entry of a job that needs no work; None if it is to be done.

    What made an output is read from the output's own mark, or else from the record. Raises `BadSetting` if that is
    something else than the settings, or unknown: the output is then not replaced unless the settings say `overwrite`.
    A job that was cut off counts as made with what it was begun with.
    """
    if settings.overwrite:
        return None
    known = record.of(job.target)
    headers = {path: read_header(path) for path in outputs_of(job, settings) if has_content(path)}
    for path, header in headers.items():
        check_maker(path, job, header, known, settings)
    if headers and known is not None:
        check_input(job, known)
    check_neighbours(job, settings, record)
    target = headers.get(job.target)
    if target is None or len(headers) < len(outputs_of(job, settings)):
        return None
    if known is not None and not known.finished and not _is_marked(target, job, known, settings):
        return None
    finished = (
        all(header.readable for header in headers.values())
        and _same_source(job, target, known, settings)
        and _same_sides(known, settings)
        and (not settings.verify or all(map(is_whole, headers)))
    )
    return _skipped_entry(job, settings, known, target.mark) if finished else None


def _skipped_entry(job: Job, settings: TranslateSettings, known: Known | None, mark: Mark | None) -> Entry:
    """The entry of a finished file with this mark.

    The input's present size and time are recorded, which may be new with `hash`; but those that the output's mark tells
    stay, because by them it is known that the mark is of this input. So does the precision, which "auto" leaves open.
    """
    before = known.stamp if known else None
    told = before is not None and mark is not None and mark.source == source_id(before)
    stamp = before if told else stamp_of(job.source)
    job = replace(job, stamp=stamp, sha256=known.sha256 if known else None)
    made = mark.made_with if mark is not None else known.made_with if known is not None else ""
    entry = entry_of(job, "skipped", replace(settings, precision="bf16" if BF16 in made else "fp32"))
    if known is not None and known.sides is not None:
        entry.sides = sorted(kind for kind in known.sides if _is_there(job, kind, known.finished))
    return entry


def _is_there(job: Job, kind: str, finished: bool) -> bool:
    """Whether a file beside the translation is still there, and of this kind.

    A picture's map and its raw values share a name. Which of them a job that was cut off has left, the mark tells: raw
    values have none.
    """
    (path,) = side_files(job, [kind])
    if finished or job.kind == "clip" or kind not in ("map", "raw"):
        return path.is_file()
    return path.is_file() and (read_header(path).mark is None) == (kind == "raw")


def _is_marked(target: Header, job: Job, known: Known, settings: TranslateSettings) -> bool:
    """Whether the mark alone says that the job was finished, though killed before it was recorded.

    The record of a job that has begun tells of the input that it read; what lies there may be of an earlier one. The
    translation is written last. Files beside it may be older, so that nothing is known of them.
    """
    mark = target.mark
    if mark is None or known.stamp is None or mark.source != source_id(known.stamp):
        return False
    return same_made_with(mark.made_with, settings, job.kind) and not sides_of(settings)


def has_content(path: Path) -> bool:
    """Whether there is a file that is not empty. An empty one is what a full disk or a lost machine leaves."""
    return path.is_file() and path.stat().st_size > 0


def check_maker(path: Path, job: Job, header: Header, known: Known | None, settings: TranslateSettings) -> None:
    """Raises `BadSetting` if a file under an output's name is not made with `settings`, as far as is known.

    A full mark counts more than the record, because it cannot be separated from its file. The record counts only for a
    file of the size that it names: another file may have been copied over the output.
    """
    old = False
    if header.mark is not None and (header.mark.source is not None or known is None):
        made = header.mark.made_with
    elif known is not None and not (path == job.target and header.readable and is_another(path, known)):
        made, old = known.made_with, known.sides is None
    else:
        raise unknown_maker(path)
    if not same_made_with(made, settings, job.kind, old):
        raise other_maker(path, made, made_with(settings, job.kind))


def is_another(path: Path, known: Known) -> bool:
    """Whether a file has another size than the output that the record knows."""
    return known.output_bytes is not None and known.output_bytes != path.stat().st_size


def check_input(job: Job, known: Known) -> None:
    """Raises `BadSetting` if the output was made of another input that still exists: two cameras may number alike."""
    other = known.input
    if other is None or known.stamp is None or stamp_of(other) != known.stamp:  # moved, or replaced since
        return
    try:
        same = os.path.samefile(other, job.source) or filecmp.cmp(other, job.source, shallow=False)
    except OSError:  # the new input cannot be read, which its job will report
        return
    if not same:
        raise BadSetting(f"{job.target} was made of {other}, not {job.source}; {OTHER_FOLDER}")


def check_neighbours(job: Job, settings: TranslateSettings, record: Record) -> None:
    """Raises `BadSetting` if an earlier run, of other inputs, has left something else under the job's outputs' names.

    That is a translation, where a file beside the job's own is to be, or the reverse. Within a run there is no such
    case, see `plan_jobs`.
    """
    for path in side_files(job, sides_of(settings)):
        if path.is_file() and record.of(path) is not None:
            raise BadSetting(f"{path} is the translation of another input; {OTHER_FOLDER}")
    main = job.target.with_suffix("").with_suffix("")  # which the target would be a map or a comparison of
    if not job.target.stem.endswith(SIDE_MARKS) or not job.target.is_file() or record.of(job.target) is not None:
        return
    known = record.of(main)
    if known is None or known.input is None or known.input.is_relative_to(os.path.realpath(settings.input)):
        return
    if job.target in side_files(Job(known.input, main, job.kind), known.sides or ()):
        raise BadSetting(f"{job.target} was made of {known.input}, not {job.source}; {OTHER_FOLDER}")


def unknown_maker(path: Path) -> BadSetting:
    """The error for a file under an output's name of which nothing is known."""
    return BadSetting(f"{path} is not known to be a translation of gen; {OTHER_FOLDER}")


def other_maker(path: Path, made: str, wanted: str) -> BadSetting:
    """The error for an output that was made with something else."""
    return BadSetting(
        f"{path} was made with {made}, not {wanted}; choose another output folder, or set overwrite to translate it "
        "again."
    )


def _same_source(job: Job, target: Header, known: Known | None, settings: TranslateSettings) -> bool:
    """Whether the output was made of the input as it is now. The record is exact, the mark has 8 digits of it."""
    stamp = stamp_of(job.source)
    if stamp is None:
        return False
    if target.mark is not None and target.mark.source is not None:
        recorded = known.stamp if known is not None and settings.hash else None  # of an input that is as new since
        if target.mark.source not in {source_id(s) for s in (stamp, recorded) if s is not None}:
            return False  # another translation was copied over this one
        if not settings.hash:
            return True
    if known is not None and (known.stamp is not None or settings.hash):
        return same_input(job, known, settings)
    # Version 0.1 recorded no inputs, and gave its outputs the time of writing.
    output = stamp_of(job.target)
    return known is not None and output is not None and stamp.mtime_ns <= output.mtime_ns


def same_input(job: Job, known: Known, settings: TranslateSettings) -> bool:
    """Whether the record's input is the input as it is now."""
    if settings.hash:
        return known.sha256 is not None and known.sha256 == hash_of(job.source)
    return known.stamp is not None and known.stamp == stamp_of(job.source)


def _same_sides(known: Known | None, settings: TranslateSettings) -> bool:
    """Whether the files beside the output show what the settings ask for: a map and its raw values share one name."""
    wanted = set(sides_of(settings))
    return not wanted or (known is not None and (known.sides is None or wanted <= known.sides))


def is_whole(path: Path) -> bool:
    """Whether the file can be decoded to its end."""
    try:
        check_whole(path)
    except Exception:  # decoders of damaged files raise anything
        return False
    return True


def hash_of(path: Path) -> str | None:
    """SHA-256 of a file's content; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
