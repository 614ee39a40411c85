"""The record of an output folder: what each file was made with, and of which input, from the first file on.

While a run goes on, every file is noted in a hidden file of one JSON line each: when its job begins and when it is
finished. report.json takes these lines over when the run ends. A run that is killed leaves the hidden file, and the
next run reads both.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from gen.errors import BadSetting
from gen.locks import LOCK, locked
from gen.media.files import fit_name, write_atomically
from gen.media.folders import Stamp, stamp_of
from gen.translation.made_with import same_text
from gen.translation.report import (
    BEFORE,
    REPORT,
    Entry,
    dump,
    earlier_entries,
    entries_by_path,
    entry_json,
    inside,
    name_in,
    path_of,
    renamed,
)

BEGUN = "begun"
"""Status of a file whose job has begun: what lies under its name may be old, new, or lack its side files."""


def single_report(output: Path) -> Path:
    """The report of a single output file, beside it."""
    return output.with_name(fit_name(output.stem, f".{REPORT}"))


def record_path(report: Path) -> Path:
    """The hidden file beside a report."""
    return report.with_name(fit_name(f".gen-{report.stem}", ".jsonl"))


def lock_of(report: Path) -> str:
    """Name of the file beside a report that is locked while a run writes it."""
    return LOCK if report.name == REPORT else fit_name(f".gen-{report.stem}", ".lock")


@dataclass(frozen=True)
class Known:
    """What the record says of a file."""

    made_with: str
    finished: bool
    """False: the job failed, or was cut off."""
    input: Path | None
    """None in reports of version 0.1."""
    stamp: Stamp | None
    """The input's; None in reports of version 0.1."""
    sha256: str | None
    output_bytes: int | None
    """Size of the finished output; None in reports of earlier versions, and if the job was not finished."""
    sides: frozenset[str] | None
    """As in `Entry`; None in reports of version 0.1."""
    weather: str | None
    probability: float
    classifier: str | None
    """None in reports of earlier versions."""
    left_out: list[str]
    warnings: list[str]

    @classmethod
    def parse(cls, entry: Mapping[str, Any]) -> Self:
        """From a report's entry, in which anything may be missing."""
        size, time, sides = entry.get("input_bytes"), entry.get("input_mtime_ns"), entry.get("sides")
        written = entry.get("output_bytes")
        probability, source = entry.get("probability"), name_in(entry, "input_path")
        return cls(
            made_with=str(entry.get("made_with")),
            finished=entry.get("status") in ("done", "skipped", "left"),
            input=Path(source) if source else None,
            stamp=Stamp(size, time) if isinstance(size, int) and isinstance(time, int) else None,
            sha256=entry.get("input_sha256"),
            output_bytes=written if isinstance(written, int) else None,
            sides=frozenset(map(str, sides)) if isinstance(sides, list) else None,
            weather=entry.get("weather"),
            probability=float(probability) if isinstance(probability, int | float) else 0.0,
            classifier=entry.get("classifier"),
            left_out=_texts(entry.get("left_out")),
            warnings=_texts(entry.get("warnings")),
        )


class Record:
    """The record of an output folder, or of a single output file. Only the run that has the folder's lock writes it."""

    def __init__(self, report: Path) -> None:
        """`report`: path of report.json."""
        self.report = report
        self._path = record_path(report)
        self._entries = earlier_entries(report) | self._read_lines()
        self._begun = {name for name, entry in self._entries.items() if entry.get("status") == BEGUN}
        self._descriptor: int | None = None
        self._below: dict[Path, Record] = {}
        self._taken_over: list[Record] = []

    def _read_lines(self) -> dict[str, dict[str, Any]]:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
        except OSError:
            return {}
        return entries_by_path(map(_parse, lines), self.report.parent)

    def of(self, target: Path) -> Known | None:
        """What is known of an output; None if it has no entry."""
        entry = self._entries.get(inside(target, self.report.parent))
        if entry is None and self.report.name == REPORT:
            self._take_over_smaller_run(target)
            entry = self._entries.get(inside(target, self.report.parent))
        return Known.parse(entry) if entry is not None else None

    def sides_of(self, target: Path) -> frozenset[str]:
        """Kinds of the files that earlier runs have left beside an output."""
        known = self.of(target)
        return (known and known.sides) or frozenset()

    def input_of(self, target: Path) -> str | None:
        """The input of an output as it is written, which may be a URL; None if it is unknown."""
        entry = self._entries.get(inside(target, self.report.parent))
        return name_in(entry, "input_path") if entry is not None else None

    def smaller_reports(self, target: Path) -> list[Path]:
        """Where a run of this file alone, or of a sub-folder that it lies in, writes its report."""
        name = Path(inside(target, self.report.parent))
        folders = [] if name.is_absolute() else list(name.parents)[:-1]
        return [single_report(target), *(self.report.parent / folder / REPORT for folder in folders)]

    def _take_over_smaller_run(self, target: Path) -> None:
        """Take all entries by a run of this file alone, or of a sub-folder, if it has one of this file."""
        single, *below = self.smaller_reports(target)
        self._below |= {path: Record(path) for path in below if path not in self._below}
        for record in (Record(single), *(self._below[path] for path in below)):
            if record in self._taken_over or not record.lists(target):
                continue
            self._taken_over.append(record)
            for inner, entry in record._entries.items():
                name = inside(record.report.parent / inner, self.report.parent)
                if self._entries.setdefault(name, renamed(entry, name)).get("status") == BEGUN:
                    self._begun.add(name)

    def lists(self, target: Path) -> bool:
        """Whether this record itself has an entry for an output, or for outputs in a folder of its own folder."""
        name = inside(target, self.report.parent)
        return name in self._entries or any(path.startswith(f"{name}/") for path in self._entries)

    def begin(self, entry: Entry) -> None:
        """Note that the outputs of this entry are about to be written. Raises OSError if it cannot be written."""
        self._add({**entry_json(entry, self.report.parent), "status": BEGUN})

    def finish(self, entry: Entry) -> None:
        """Note a result. Raises OSError if it cannot be written."""
        self._add(entry_json(entry, self.report.parent))

    def before(self, entry: Entry) -> Mapping[str, Any] | None:
        """What stood here before the latest job for an output began, if the output is still that one."""
        old = self._entries.get(inside(entry.output, self.report.parent), {}).get(BEFORE)
        if not isinstance(old, Mapping) or not same_text(str(old.get("made_with")), entry.made_with):
            return None
        known, now = Known.parse(old), stamp_of(Path(entry.output))
        return old if known.stamp == entry.stamp and now is not None and known.output_bytes == now.size else None

    def _add(self, entry: dict[str, Any]) -> None:
        name = path_of(entry, self.report.parent)
        old = self._entries.get(name, {})
        before = old if Known.parse(old).finished else old.get(BEFORE)
        if before is not None and not Known.parse(entry).finished:
            entry[BEFORE] = before
        self._entries[name] = entry
        (self._begun.add if entry["status"] == BEGUN else self._begun.discard)(name)
        if self._descriptor is None:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        # A line begins with the line feed: the line before may be cut off. One write: it cannot be mixed with another.
        os.write(self._descriptor, b"\n" + dump(entry).encode())

    def finished_entries(self) -> dict[str, dict[str, Any]]:
        """The entries for the report, by path: all but those whose job was cut off."""
        return {name: entry for name, entry in self._entries.items() if name not in self._begun}

    def close(self, saved: bool = True) -> None:
        """End the run. `saved`: the report has been written, so that only the jobs that were cut off are kept here."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if not saved:
            return
        for record in self._taken_over:
            with suppress(BadSetting), locked(record.report.parent, lock_of(record.report)):  # unless it goes on
                record.report.unlink(missing_ok=True)
                record._path.unlink(missing_ok=True)
        if not self._begun:
            self._path.unlink(missing_ok=True)
            return
        with write_atomically(self._path) as partial:
            partial.write_text("\n".join(dump(self._entries[name]) for name in sorted(self._begun)), encoding="utf-8")


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _parse(line: str) -> object:
    """A line's JSON; None if it is none: the last line of a run that was killed may be cut off."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
