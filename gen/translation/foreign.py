"""Whether the file under a report's name is a report of gen, or of another program: a run must not replace that."""

import json
import re
from pathlib import Path
from typing import Any, cast

ALWAYS = {"input", "output", "kind", "status"}
"""Keys that all entries have, those of version 0.1 too."""
BEGINNING = '{"totals":{"done":'
"""How all reports begin, without white space."""


def is_foreign(path: Path) -> bool:
    """Whether a report's name is that of a file of another program, which a run would replace."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return False
    except OSError:  # whatever it is, it is not ours to replace
        return True
    try:
        return not is_report(json.loads(text))
    except (ValueError, RecursionError):
        return not _begins_as_report(text)


def is_report(content: Any) -> bool:
    """Whether a file's JSON is a report of gen, of version 0.1 too."""
    match content:
        case {"totals": {"done": int()}, "settings": dict(), "files": list(files)}:
            return all(isinstance(file, dict) and file.keys() >= ALWAYS for file in cast("list[Any]", files))
        case _:
            return False


def _begins_as_report(text: str) -> bool:
    """Whether a text is a report that a full disk or a lost machine has cut off, perhaps to nothing, or zero bytes."""
    begun = re.sub(r"[\s\0]", "", text[:1000])
    return begun.startswith(BEGINNING) or BEGINNING.startswith(begun)
