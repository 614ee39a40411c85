"""A row of the table as it is written on the command line. This module imports no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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

    Without a name, smos(coral) is called smos-coral. Raises `BadSetting`.
    """
    head, *changes = text.split(",")
    name, _, rest = head.rpartition("=")
    algorithm, _, precursor = (rest or head).partition(":")
    registry.check_name(algorithm)
    name = name or algorithm.replace("(", "-").replace(")", "")
    if not re.fullmatch(r"\w[\w+.-]*", name):  # it becomes the name of a folder
        raise BadSetting(f"method {text}: the name may have only letters, digits and . + - _.")
    return Method(name, algorithm, precursor or None, parse_overrides(changes))
