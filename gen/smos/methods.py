"""A row of the table as it is written on the command line. This module imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gen.errors import BadSetting
from gen.smos.algorithms import registry
from gen.training.settings import parse_overrides


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    name: str
    algorithm: str
    precursor: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    """Settings and options of the algorithm that differ from the rest of the table."""


def parse_method(text: str) -> Method:
    """`erm`, or NAME=ALGORITHM[:PRECURSOR][,FIELD=VALUE,...] as in smos+=smos:smd-precursor,js_weight=5.

    ALGORITHM may be FILE.py:CLASS. Without NAME, the row is called as the class or the algorithm, and smos(coral)
    smos-coral. Raises `BadSetting`.
    """
    head, *changes = text.split(",")
    name, _, rest = head.rpartition("=")
    algorithm, precursor = _parts(rest or head)
    registry.check_name(algorithm)
    name = name or usual_name(algorithm)
    if not re.fullmatch(r"\w[\w+.-]*", name):  # it becomes the name of a folder
        raise BadSetting(f"method {text}: the name may have only letters, digits and . + - _.")
    return Method(name, algorithm, precursor, parse_overrides(changes))


def usual_name(algorithm: str) -> str:
    """The name of the row of an algorithm that is given none: its own, or the class's."""
    if grounded := registry.GROUNDED.fullmatch(algorithm):
        return f"{grounded[1]}-{usual_name(grounded[2])}"
    return algorithm.rpartition(":")[2] if registry.is_own(algorithm) else algorithm


def in_time(method: Method, minutes: float) -> Method:
    """The method as another row, whose runs each take so many minutes of processor time instead of some steps."""
    return replace(method, name=f"{method.name}@{minutes:g}min", changes={**method.changes, "core_minutes": minutes})


def _parts(text: str) -> tuple[str, str | None]:
    """ALGORITHM[:PRECURSOR], where ALGORITHM may be FILE.py:CLASS or smos(FILE.py:CLASS)."""
    if own := re.fullmatch(r"(\w+\(.+\)|.+\.py:\w*)(?::(.+))?", text):
        return own[1], own[2]
    algorithm, _, precursor = text.partition(":")
    return algorithm, precursor or None
