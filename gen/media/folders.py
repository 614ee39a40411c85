"""Find the images and clips of a folder, and plan the output file of each."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from gen.errors import BadInput
from gen.media.files import fit_name
from gen.media.images import STILL_FORMATS, STILL_SUFFIXES, WRITTEN_AS
from gen.media.results import PLOTS, SHIFT, has_shift_table
from gen.media.video import VIDEO_SUFFIXES
from gen.media.walk import HIDDEN, describe_left_out, walk

log = logging.getLogger(__name__)

Kind = Literal["still", "clip"]
SIDE_MARKS = (".uncertainty", ".overlay", ".compare")
"""Marks before the suffix of files written beside a translation: its map, its overlay, its comparison."""
DRAWN = ("overlay", "compare")
"""Kinds of files beside a translation that have its format."""
SIDES = ("map", "raw", *DRAWN)
"""Kinds of all files beside a translation."""

NO_STILL = "not a picture that gen reads"
NOT_READ = "not a picture or clip that gen reads"
SIDE_FILE = "written beside a translation by an earlier run"


def find_stills(folder: Path, quiet: bool = False, sides: bool = False) -> list[Path]:
    """All images in `folder` and its sub-folders, linked ones too, sorted, without hidden files and folders.

    Nor the maps and comparisons beside translations, unless `sides`, nor the plots of `gen measure-shift`. Logs a
    warning with the number of other files, by reason; `quiet`: does not.
    """
    left_out: dict[str, str] = {}
    found = _without_plots(_find(folder, STILL_SUFFIXES, NO_STILL, left_out), quiet)
    found = found if sides else _without_sides(found, folder, left_out)
    for line in [] if quiet else describe_left_out({n: why for n, why in left_out.items() if why != HIDDEN}):
        log.warning(f"{folder}: {line}")
    return found


def _without_plots(found: Sequence[Path], quiet: bool) -> list[Path]:
    """Without the plots beside a table of `gen measure-shift`, whose output folder may lie below what it measures."""
    results = {folder for folder in {path.parent for path in found if path.name in PLOTS} if has_shift_table(folder)}
    for folder in [] if quiet else sorted(results):
        log.warning("left out: %s is %s", folder, SHIFT)
    return [path for path in found if not (path.name in PLOTS and path.parent in results)]


def _find(
    folder: Path, suffixes: tuple[str, ...], other: str, left_out: dict[str, str], skip: Path | None = None
) -> list[Path]:
    """The files with these suffixes. `left_out` receives the others, with `other` as the reason; see `walk`."""
    found: list[Path] = []
    for path in walk(folder, left_out, skip):
        if suffix_of(path) in suffixes:
            found.append(path)
        else:
            left_out[path.relative_to(folder).as_posix()] = other
    return sorted(found)


def suffix_of(path: Path) -> str:
    """The suffix that says what a file is: in lower case, and without the space that some names end with."""
    return path.suffix.strip().lower()


class Stamp(NamedTuple):
    """What tells, without reading a file, whether it is still the same."""

    size: int
    """Bytes."""
    mtime_ns: int
    """Modification time, in nanoseconds since 1970."""


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns)


@dataclass(frozen=True)
class Job:
    """One file to translate."""

    source: Path
    target: Path
    kind: Kind
    stamp: Stamp | None = field(default=None, compare=False)
    """The source's, from before it is read; None if nobody has looked yet."""
    sha256: str | None = field(default=None, compare=False)
    """Hash of the source's content, if the settings ask for it."""

    def beside(self, mark: str, suffix: str | None = None) -> Path:
        """Path of a file beside the translation, NAME.SUFFIX.mark.suffix; the first suffix makes it unique."""
        return self.target.with_name(fit_name(self.target.name, f"{mark}{suffix or self.target.suffix}"))


def side_files(job: Job, sides: Iterable[str]) -> list[Path]:
    """The files of these kinds beside the job's translation; a map of a picture and its raw values share one."""
    suffix = {"map": job.target.suffix, "raw": ".zip"} if job.kind == "clip" else {"map": ".png", "raw": ".png"}
    names = {kind: (".uncertainty", suffix[kind]) for kind in suffix} | {k: (f".{k}", None) for k in DRAWN}
    return [job.beside(*names[kind]) for kind in sides if kind in names]


def plan_jobs(
    source: Path,
    target: Path,
    still_format: str = "keep",
    left_out: dict[str, str] | None = None,
    may_be_empty: bool = False,
) -> list[Job]:
    """One job per image and clip of `source`, a file or a folder tree; outputs keep names and sub-folders.

    `still_format`: "keep", or the suffix of all output images without the dot; formats that are not written become
    another, for example gif png. Clips stay mp4, mov or mkv; others become mp4. Two inputs with the same output path
    (a.png and a.jpg) keep their old suffix in the new name, and so does one whose map or comparison would have the path
    of another's output, whether it is asked for or not: names stay the same from run to run. `left_out` receives the
    files of a folder that are not read: path inside `source` -> reason. Raises `BadInput` if there are no inputs,
    unless the folder `may_be_empty`, or if an output would overwrite an input.
    """
    left_out = {} if left_out is None else left_out
    if source.is_dir():
        inputs = _inputs_below(source, target, left_out)
        targets = [target / p.relative_to(source) for p in inputs]
    elif source.is_file():
        inputs = [source]
        targets = [target if target.suffix and not target.is_dir() else target / source.name]
    else:
        raise BadInput(f"{source}: no such file or folder.")
    if not (inputs or may_be_empty) or not all(suffix_of(p) in STILL_SUFFIXES + VIDEO_SUFFIXES for p in inputs):
        unread = "".join(f" {line}." for line in describe_left_out(left_out))
        raise BadInput(
            f"{source}: no images ({' '.join(STILL_SUFFIXES)}) and no clips ({' '.join(VIDEO_SUFFIXES)}) found.{unread}"
        )
    single = source.is_file() and targets[0] == target
    jobs = [_job(s, t, still_format, single) for s, t in zip(inputs, targets, strict=True)]
    jobs = _without_collisions(jobs)
    check_not_inputs([job.source for job in jobs], [job.target for job in jobs])
    if source.is_dir():
        _check_not_among_inputs(jobs, source.resolve(), target.resolve())
    return jobs


def _check_not_among_inputs(jobs: Sequence[Job], source: Path, target: Path) -> None:
    """Raises `BadInput` if an output would lie in the input folder, where the next run would read it as an input.

    The output folder itself may lie there: it is not read. Both are given as resolved paths.
    """
    unread = target if target.is_relative_to(source) else None
    for output in {job.target.parent: job.target for job in jobs}.values():
        folder = output.parent.resolve()
        if folder.is_relative_to(source) and not (unread and folder.is_relative_to(unread)):
            raise BadInput(f"{output}: the output would lie among the inputs; choose another output folder.")


def _inputs_below(source: Path, target: Path, left_out: dict[str, str]) -> list[Path]:
    """Images and clips of a tree, without outputs of earlier runs (files in `target` or beside a translation)."""
    if target.resolve() == source.resolve():  # for another format too: the next run would read the outputs as inputs
        raise BadInput(f"{target}: the output would overwrite an input; choose another output folder.")
    found = _find(source, STILL_SUFFIXES + VIDEO_SUFFIXES, NOT_READ, left_out, skip=target)
    return _without_sides(found, source, left_out)


def _without_sides(found: Sequence[Path], folder: Path, left_out: dict[str, str]) -> list[Path]:
    """Without the files beside translations, which `left_out` receives."""
    known = set(found)  # a.jpg.compare.jpg is an output only if a.jpg is there as well
    sides = {p for p in found if p.stem.endswith(SIDE_MARKS) and p.with_suffix("").with_suffix("") in known}
    left_out.update({p.relative_to(folder).as_posix(): SIDE_FILE for p in sides})
    return [p for p in found if p not in sides]


def _job(source: Path, target: Path, still_format: str, single: bool) -> Job:
    target = target.with_name(target.name.rstrip())  # "a.jpg " would be a file of no format
    suffix = target.suffix.lower()
    kind: Kind = "clip" if suffix_of(source) in VIDEO_SUFFIXES else "still"
    allowed = (".mp4", ".mov", ".mkv") if kind == "clip" else tuple(STILL_FORMATS)
    if single and suffix not in allowed:
        raise BadInput(f"{target}: a {kind} cannot be written as {suffix!r}; use one of {' '.join(allowed)}.")
    if kind == "clip":
        return Job(source, target if suffix in allowed else _with_suffix(target, ".mp4"), kind)
    if single:
        return Job(source, target, kind)
    if still_format == "keep":
        return Job(source, _with_suffix(target, WRITTEN_AS[suffix]) if suffix in WRITTEN_AS else target, kind)
    return Job(source, _with_suffix(target, f".{still_format}"), kind)


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(fit_name(path.stem, suffix))


def _without_collisions(jobs: list[Job]) -> list[Job]:
    """Jobs with a colliding output get the whole input name (a.png.jpg). If that collides too, all jobs get it."""
    colliding = _colliding(jobs)
    renamed = [_with_whole_name(j) if j.target in colliding else j for j in jobs]
    return [_with_whole_name(j) for j in jobs] if _colliding(renamed) else renamed


def _colliding(jobs: list[Job]) -> set[Path]:
    """Targets of several jobs, and those whose files beside them would be the target of another."""
    counts = Counter(job.target for job in jobs)
    twice = {target for target, count in counts.items() if count > 1}
    marked = {target for target in counts if target.stem.endswith(SIDE_MARKS)}  # only these can lie beside another
    return twice | {job.target for job in jobs if marked and not marked.isdisjoint(side_files(job, SIDES))}


def _with_whole_name(job: Job) -> Job:
    return Job(job.source, job.target.with_name(fit_name(job.source.name, job.target.suffix)), job.kind)


def check_not_inputs(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raises `BadInput` if an output would overwrite an input."""
    folder = cache(os.path.realpath)  # of 20,000 files, most lie in few folders

    def resolved(path: Path) -> str:
        return os.path.realpath(path) if path.is_symlink() else os.path.join(folder(path.parent), path.name)

    places = {resolved(path) for path in inputs}
    for output in outputs:
        if resolved(output) in places:
            raise BadInput(f"{output}: the output would overwrite an input; choose another output folder.")
