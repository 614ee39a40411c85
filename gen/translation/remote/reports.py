"""Reports and records on their way between a stage and a store, where they name files otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gen.locks import locked
from gen.media.files import write_atomically
from gen.translation.foreign import is_foreign
from gen.translation.record import lock_of, record_path
from gen.translation.report import REPORT, dump

Change = Callable[[Any], Any]
"""What is done to the content of a report, or of a line of a record, on its way."""


def is_report(name: str) -> bool:
    """Whether a file has the name of a report or of the record beside one."""
    name = name.rpartition("/")[2]
    return name == REPORT or name.endswith(f".{REPORT}") or (name.startswith(".gen-") and name.endswith(".jsonl"))


def edit_reports(report: Path, change: Change) -> None:
    """Change the report and the record of an output folder of this machine.

    Raises `BadSetting` if another run is writing there.
    """
    if not report.parent.is_dir() or is_foreign(report):
        return
    with locked(report.parent, lock_of(report)):
        for path in (report, record_path(report)):
            if path.is_file():
                edit(path, path, change)


def edit(path: Path, out: Path, change: Change) -> None:
    """Copy a report or a record with its content changed; what is neither is copied as it is."""
    content = path.read_bytes()
    with write_atomically(out) as partial:
        try:
            text = content.decode("utf-8")
            if path.suffix == ".jsonl":
                lines = [_changed_line(line, change) for line in text.split("\n")]
                partial.write_text("\n".join(lines), encoding="utf-8")
            else:
                partial.write_text(dump(change(json.loads(text)), indent=1), encoding="utf-8")
        except (ValueError, RecursionError):
            partial.write_bytes(content)


def _changed_line(line: str, change: Change) -> str:
    try:
        return dump(change(json.loads(line)))
    except (ValueError, RecursionError):  # an empty one, or one that a killed run has cut off
        return line
