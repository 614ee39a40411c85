"""Find the images and clips of a folder, and plan the output file of each."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gen.errors import BadInput
from gen.media.images import STILL_FORMATS, STILL_SUFFIXES, WRITTEN_AS
from gen.media.video import VIDEO_SUFFIXES

Kind = Literal["still", "clip"]
SIDE_MARKS = (".uncertainty", ".overlay", ".compare")
"""Marks before the suffix of files written beside a translation: its map, its overlay, its comparison."""


def find_stills(folder: Path) -> list[Path]:
    """All images in `folder` and its sub-folders, sorted, without hidden files and folders."""
    return _find(folder, STILL_SUFFIXES)


def _find(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in suffixes
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )


@dataclass(frozen=True)
class Job:
    """One file to translate."""

    source: Path
    target: Path
    kind: Kind

    def beside(self, mark: str, suffix: str | None = None) -> Path:
        """Path of a file beside the translation, NAME.SUFFIX.mark.suffix; the first suffix makes it unique."""
        return self.target.with_name(f"{self.target.name}{mark}{suffix or self.target.suffix}")


def plan_jobs(source: Path, target: Path, still_format: str = "keep") -> list[Job]:
    """One job per image and clip of `source`, a file or a folder tree; outputs keep names and sub-folders.

    `still_format`: "keep", or the suffix of all output images without the dot; formats that are not written become
    another, for example gif png. Clips stay mp4, mov or mkv; others
    become mp4. Two inputs with the same output path (a.png and a.jpg) keep their old suffix in the new name. Raises
    `BadInput` if there are no inputs, or if an output would overwrite an input.
    """
    if source.is_dir():
        inputs = _inputs_below(source, target)
        targets = [target / p.relative_to(source) for p in inputs]
    elif source.is_file():
        inputs = [source]
        targets = [target if target.suffix and not target.is_dir() else target / source.name]
    else:
        raise BadInput(f"{source}: no such file or folder.")
    if not inputs or not all(p.suffix.lower() in STILL_SUFFIXES + VIDEO_SUFFIXES for p in inputs):
        raise BadInput(
            f"{source}: no images ({' '.join(STILL_SUFFIXES)}) and no clips ({' '.join(VIDEO_SUFFIXES)}) found."
        )
    single = source.is_file() and targets[0] == target
    jobs = [_job(s, t, still_format, single) for s, t in zip(inputs, targets, strict=True)]
    jobs = _without_collisions(jobs)
    check_not_inputs(jobs, [job.target for job in jobs])
    return jobs


def _inputs_below(source: Path, target: Path) -> list[Path]:
    """Images and clips of a tree, without outputs of earlier runs (files in `target` or beside a translation)."""
    out = target.resolve()
    if out == source.resolve():  # refused for another format too: the next run would read the outputs as inputs
        raise BadInput(f"{target}: the output would overwrite an input; choose another output folder.")
    found = _find(source, STILL_SUFFIXES + VIDEO_SUFFIXES)
    if out.is_relative_to(source.resolve()):
        found = [p for p in found if not p.resolve().is_relative_to(out)]
    known = set(found)  # a.jpg.compare.jpg is an output only if a.jpg is there as well
    return [p for p in found if not (p.stem.endswith(SIDE_MARKS) and p.with_suffix("").with_suffix("") in known)]


def _job(source: Path, target: Path, still_format: str, single: bool) -> Job:
    suffix = target.suffix.lower()
    kind: Kind = "clip" if source.suffix.lower() in VIDEO_SUFFIXES else "still"
    allowed = (".mp4", ".mov", ".mkv") if kind == "clip" else tuple(STILL_FORMATS)
    if single and suffix not in allowed:
        raise BadInput(f"{target}: a {kind} cannot be written as {suffix!r}; use one of {' '.join(allowed)}.")
    if kind == "clip":
        return Job(source, target if suffix in allowed else target.with_suffix(".mp4"), kind)
    if single:
        return Job(source, target, kind)
    if still_format == "keep":
        return Job(source, target.with_suffix(WRITTEN_AS[suffix]) if suffix in WRITTEN_AS else target, kind)
    return Job(source, target.with_suffix(f".{still_format}"), kind)


def _without_collisions(jobs: list[Job]) -> list[Job]:
    """Jobs with a colliding output get the whole input name (a.png.jpg). If that collides too, all jobs get it."""
    colliding = _colliding(jobs)
    renamed = [_with_whole_name(j) if j.target in colliding else j for j in jobs]
    return [_with_whole_name(j) for j in jobs] if _colliding(renamed) else renamed


def _colliding(jobs: list[Job]) -> set[Path]:
    return {target for target, count in Counter(job.target for job in jobs).items() if count > 1}


def _with_whole_name(job: Job) -> Job:
    return Job(job.source, job.target.with_name(job.source.name + job.target.suffix), job.kind)


def check_not_inputs(jobs: Sequence[Job], outputs: Iterable[Path]) -> None:
    """Raises `BadInput` if an output would overwrite the input of any job."""
    inputs = {job.source.resolve() for job in jobs}
    for output in outputs:
        if output.resolve() in inputs:
            raise BadInput(f"{output}: the output would overwrite an input; choose another output folder.")
