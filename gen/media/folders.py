"""A tree of stills and clips in, its mirror out: what to do, what is done already, what failed."""

import json
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gen.errors import BadInput
from gen.media.files import writing
from gen.media.images import STILL_SUFFIXES
from gen.media.video import VIDEO_SUFFIXES

Kind = Literal["still", "clip"]
Status = Literal["done", "skipped", "left", "failed"]
"""Translated now; translated by an earlier run; copied as it is, because no translation fits; not done."""

SIDE_MARKS = (".uncertainty", ".overlay", ".compare")
"""What the names of files made beside a translation end in, before the suffix."""

REPORT = "report.json"


def find_stills(folder: Path) -> list[Path]:
    """All pictures below `folder`, sorted; hidden files and folders are left out."""
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
        """The path of a file made beside the translation: NAME.SUFFIX.mark.suffix, so that no two jobs share it."""
        return self.target.with_name(f"{self.target.name}{mark}{suffix or self.target.suffix}")


def plan_jobs(source: Path, target: Path, still_format: str = "keep") -> list[Job]:
    """What `source`, a file or a tree, becomes below `target`: the same names in the same sub-folders.

    `still_format`: "keep", or the suffix of all stills without its dot. Clips stay mp4, mov or mkv, others become mp4.
    Inputs that would meet in one output keep their old suffix in the new name. Raises `BadInput` where there is
    nothing to do, or where an output would take the place of an input.
    """
    if source.is_dir():
        inputs = _inputs_below(source, target)
        targets = [target / p.relative_to(source) for p in inputs]
    elif source.is_file():
        inputs = [source]
        targets = [target if target.suffix and not target.is_dir() else target / source.name]
    else:
        raise BadInput(f"{source}: there is no such file or folder.")
    if not inputs or not all(p.suffix.lower() in STILL_SUFFIXES + VIDEO_SUFFIXES for p in inputs):
        raise BadInput(f"{source}: no stills ({' '.join(STILL_SUFFIXES)}) and no clips ({' '.join(VIDEO_SUFFIXES)}).")
    single = source.is_file() and targets[0] == target
    jobs = [_job(s, t, still_format, single) for s, t in zip(inputs, targets, strict=True)]
    jobs = _separated(jobs)
    check_not_inputs(jobs, [job.target for job in jobs])
    return jobs


def _inputs_below(source: Path, target: Path) -> list[Path]:
    """What a tree holds, less the outputs of earlier runs: all in `target`, and what lies beside a translation."""
    out = target.resolve()
    if out == source.resolve():  # in another format too: the next run would take the outputs for inputs
        raise BadInput(f"{target}: the output would take the place of an input; choose another output folder.")
    found = _find(source, STILL_SUFFIXES + VIDEO_SUFFIXES)
    if out.is_relative_to(source.resolve()):
        found = [p for p in found if not p.resolve().is_relative_to(out)]
    known = set(found)
    return [p for p in found if not (p.stem.endswith(SIDE_MARKS) and p.with_suffix("").with_suffix("") in known)]


def _job(source: Path, target: Path, still_format: str, single: bool) -> Job:
    suffix = target.suffix.lower()
    kind: Kind = "clip" if source.suffix.lower() in VIDEO_SUFFIXES else "still"
    allowed = (".mp4", ".mov", ".mkv") if kind == "clip" else STILL_SUFFIXES
    if single and suffix not in allowed:
        raise BadInput(f"{target}: a {kind} cannot be written as {suffix!r}; use one of {' '.join(allowed)}.")
    if kind == "clip":
        return Job(source, target if suffix in allowed else target.with_suffix(".mp4"), kind)
    return Job(source, target if still_format == "keep" or single else target.with_suffix(f".{still_format}"), kind)


def _separated(jobs: list[Job]) -> list[Job]:
    """Jobs whose outputs meet get their whole old name; if that meets others, all jobs do, which cannot meet."""
    shared = _shared(jobs)
    separated = [_with_whole_name(j) if j.target in shared else j for j in jobs]
    return [_with_whole_name(j) for j in jobs] if _shared(separated) else separated


def _shared(jobs: list[Job]) -> set[Path]:
    return {target for target, count in Counter(job.target for job in jobs).items() if count > 1}


def _with_whole_name(job: Job) -> Job:
    return Job(job.source, job.target.with_name(job.source.name + job.target.suffix), job.kind)


def check_not_inputs(jobs: Sequence[Job], outputs: Iterable[Path]) -> None:
    """Raises `BadInput` if an output would take the place of any job's input."""
    inputs = {job.source.resolve() for job in jobs}
    for output in outputs:
        if output.resolve() in inputs:
            raise BadInput(f"{output}: the output would take the place of an input; choose another output folder.")


@dataclass
class Entry:
    """What became of one file."""

    input: str
    output: str
    kind: Kind
    status: Status
    made_with: str
    """What a picture depends on: model, direction, size. A folder holds pictures of one kind."""
    seconds: float = 0.0
    """From the start of decoding to the end of encoding."""
    width: int = 0
    height: int = 0
    frames: int = 1
    mean_uncertainty: float | None = None
    """Mean of the cycle uncertainty b over the picture, in grey levels, where that map was made."""
    p95_uncertainty: float | None = None
    mean_invented: float | None = None
    """Mean share invented over the picture, 0..1, where the invention map was made."""
    p95_invented: float | None = None
    flicker: dict[str, float] | None = None
    """Warp errors of a clip, in grey levels; see gen.metrics.flicker."""
    error: str | None = None
    weather: str | None = None
    """What the picture was seen to show, where the model was chosen by it."""
    probability: float | None = None
    """Of that weather, 0 to 1, by the classifier."""
    note: str | None = None
    """Why it was left as it is."""


@dataclass
class Report:
    """What became of every file of a run."""

    settings: dict[str, object]
    entries: list[Entry] = field(default_factory=list[Entry])
    planned: Collection[str] = ()
    """Outputs of the run: what an earlier report says of one that it has not come to is kept."""
    saved: float = field(default_factory=time.monotonic)
    """When it was written last, or begun, by the monotonic clock."""

    def count(self, status: str) -> int:
        """Files that ended so."""
        return sum(entry.status == status for entry in self.entries)

    def notes(self) -> dict[str, int]:
        """How many files each note is of."""
        return dict(Counter(entry.note for entry in self.entries if entry.note))

    def write(self, path: Path) -> None:
        """Write as JSON. What an earlier run measured of a file that this one skipped is kept."""
        earlier = earlier_entries(path)
        for entry in self.entries:
            old = earlier.get(entry.output)
            if entry.status == "skipped" and old and old["status"] != "failed":
                for name in (
                    "seconds",
                    "width",
                    "height",
                    "frames",
                    "mean_uncertainty",
                    "p95_uncertainty",
                    "mean_invented",
                    "p95_invented",
                    "flicker",
                ):
                    setattr(entry, name, old.get(name, getattr(entry, name)))
        reached = {entry.output for entry in self.entries}
        ahead = [old for output, old in earlier.items() if output in self.planned and output not in reached]
        files = [*(asdict(entry) for entry in self.entries), *ahead]
        totals = {status: sum(file["status"] == status for file in files) for status in get_args(Status)}
        record = {"totals": totals, "settings": self.settings, "files": files}
        with writing(path) as partial:
            partial.write_text(json.dumps(record, indent=1, default=str, ensure_ascii=False), encoding="utf-8")
        self.saved = time.monotonic()


def earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The files of an earlier run's report, by output; none where there is no report."""
    try:
        files: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(f["output"]): f for f in files}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return {}
