"""report.json: the outcome for every file of a translation run."""

import json
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gen.media.files import writing
from gen.media.folders import Kind

Status = Literal["done", "skipped", "left", "failed"]
"""Translated now; translated by an earlier run; copied unchanged, because no model fits; failed."""

REPORT = "report.json"


@dataclass
class Entry:
    """The result for one file."""

    input: str
    output: str
    kind: Kind
    status: Status
    made_with: str
    """Model, direction and settings that the result depends on. All files of a folder must agree in it."""
    seconds: float = 0.0
    """From the start of decoding to the end of encoding."""
    width: int = 0
    height: int = 0
    frames: int = 1
    mean_uncertainty: float | None = None
    """Mean cycle uncertainty b, in grey levels, if that map was made."""
    p95_uncertainty: float | None = None
    mean_invented: float | None = None
    """Mean share invented, 0..1, if the invention map was made."""
    p95_invented: float | None = None
    flicker: dict[str, float] | None = None
    """Warp errors of a clip, in grey levels; see gen.metrics.flicker."""
    error: str | None = None
    weather: str | None = None
    """Weather that the classifier saw, if it chose the model."""
    probability: float | None = None
    """The classifier's probability of that weather, 0 to 1."""
    note: str | None = None
    """Why the file was copied unchanged."""
    left_out: list[str] = field(default_factory=list[str])
    """What the output lacks of the input: tracks, chapters, metadata blocks, each in a few words."""
    warnings: list[str] = field(default_factory=list[str])
    """Faults of the input that the output works around, each a sentence: damaged frames, a sound that is unknown."""


@dataclass
class Report:
    """The results for every file of a run."""

    settings: dict[str, object]
    entries: list[Entry] = field(default_factory=list[Entry])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Files of the input folder that the run does not read, by path, with the reason."""
    planned: Collection[str] = ()
    """All outputs of the run. The earlier report's entry stays for those that the run has not reached yet."""
    saved: float = field(default_factory=time.monotonic)
    """When it was last written, or created, by the monotonic clock."""

    def count(self, status: str) -> int:
        """Number of files with this status."""
        return sum(entry.status == status for entry in self.entries)

    def notes(self) -> dict[str, int]:
        """Number of files for each note."""
        return dict(Counter(entry.note for entry in self.entries if entry.note))

    def write(self, path: Path) -> None:
        """Write as JSON. For a skipped file, the earlier run's measurements are kept."""
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
                    "left_out",
                    "warnings",
                ):
                    setattr(entry, name, old.get(name, getattr(entry, name)))
        reached = {entry.output for entry in self.entries}
        ahead = [old for output, old in earlier.items() if output in self.planned and output not in reached]
        files = [*(asdict(entry) for entry in self.entries), *ahead]
        totals = {status: sum(file["status"] == status for file in files) for status in get_args(Status)}
        record = {"totals": totals, "settings": self.settings, "files": files, "left_out": self.left_out}
        with writing(path) as partial:
            partial.write_text(json.dumps(record, indent=1, default=str, ensure_ascii=False), encoding="utf-8")
        self.saved = time.monotonic()


def earlier_entries(path: Path) -> dict[str, dict[str, Any]]:
    """The entries of an earlier run's report, by output; {} if there is none."""
    try:
        files: Sequence[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(f["output"]): f for f in files}
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return {}
