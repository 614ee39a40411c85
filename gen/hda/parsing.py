"""Strengths, adaptations, edits and axes of grids as text, the way people type them. Free of torch."""

import math
import os
import re
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from gen import weights
from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import parse_json
from gen.seeds import LARGEST_SEED

ADAPTATION_FILE = "adaptation.safetensors"
"""What `gen adapt` writes, and a folder of weights/ holds that is an adaptation."""


def parse_strengths(text: str) -> list[float]:
    """`0,0.5,1` -> [0.0, 0.5, 1.0]. Raises `BadSetting`."""
    try:
        return [_finite(part) for part in text.split(",")]
    except ValueError as error:
        raise BadSetting(f"strengths {short(text)}: expected numbers, for example 0,0.5,1.") from error


def _finite(text: str) -> float:
    """The number in a text. Raises `ValueError` for none, and for NaN and infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def adaptation_file(name_or_path: str) -> Path:
    """The file of an adaptation in weights/ or in a run directory, if this names one; otherwise the path as it is."""
    if name_or_path in weights.available(ADAPTATION_FILE):
        return Path(weights.resolve(name_or_path, ADAPTATION_FILE)) / ADAPTATION_FILE
    inside = Path(name_or_path) / ADAPTATION_FILE
    return inside if os.path.isfile(inside) else Path(name_or_path)  # Path.is_file raises for an overlong name


def parse_adaptation(text: str) -> tuple[Path, float]:
    """`FILE[:strength]` or `NAME[:strength]` -> the file and its strength, by default 1. Raises `BadInput`."""
    file, colon, strength = text.rpartition(":")
    if not colon or os.path.exists(text):  # a file name may contain a colon
        return adaptation_file(text), 1.0
    try:
        return adaptation_file(file), _finite(strength)
    except ValueError as error:
        raise BadInput(
            f"{short(text)}: no such file, and no valid strength after the colon; write, for example, FILE:0.5."
        ) from error


def made_for(file: Path) -> str | None:
    """The generator that an adaptation was made for, as it was named then; None where that is not on this machine."""
    if not os.path.isfile(file):
        return None
    try:
        with safe_open(file, "np") as opened:
            source = str(parse_json(opened.metadata()["record"], f"{file}: record")["settings"]["source"])
    except (OSError, SafetensorError, BadInput, LookupError, TypeError):
        return None
    folder, of_class = Path(source), re.sub(r"(?<=\.pkl):\d+\Z", "", source)
    here = source in weights.available() or os.path.isfile(of_class) or os.path.isfile(folder / weights.INDEX)
    return source if here else None


TRUNCATION, STRENGTH, MIX = "truncation", "strength", "mix"
"""What an axis of a grid may vary besides an edit; directions cannot have these names."""

MOST_VALUES = 64
"""Of an axis; wider pictures cannot be opened everywhere."""

_TARGET = re.compile(r"(\d{1,6})(?::(\d{1,6})(?:-(\d{1,6}))?)?", re.A)
_NAME = re.compile(r"\w[\w.+-]{0,59}")


class Target(NamedTuple):
    """A principal direction of w, and the layers of the generator on which it acts."""

    component: int
    """0 is the direction in which w varies most."""
    layers: tuple[int, int] | None = None
    """First and last; None: all."""

    def __str__(self) -> str:
        return f"{self.component}" + (f":{self.layers[0]}-{self.layers[1]}" if self.layers else "")


class Mix(NamedTuple):
    """Style mixing: the layers from `layer` on are those of the face of `seed`."""

    seed: int
    layer: int

    def __str__(self) -> str:
        return f"{self.seed}:{self.layer}"


class Axis(NamedTuple):
    """What varies along the rows or the columns of a grid."""

    key: str
    """`TRUNCATION`, `STRENGTH`, `MIX`, or a direction: its name, or a `Target` as text."""
    values: tuple[float | Mix, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(map(value_text, self.values))}"


def value_text(value: float | Mix) -> str:
    """A value of an axis as it is typed."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_target(text: str) -> Target | None:
    """`3` -> component 3 on all layers; `3:4` -> on layer 4; `3:0-4` -> on layers 0 to 4. None for any other text."""
    if not (match := _TARGET.fullmatch(text.strip())):
        return None
    component, first, last = match.groups()
    if first is None:
        return Target(int(component))
    layers = int(first), int(last or first)
    return Target(int(component), layers) if layers[0] <= layers[1] else None


def parse_layers(text: str) -> tuple[int, int]:
    """`0-3` -> the first and the last layer; `4` -> that one. Raises `BadSetting`."""
    if (target := parse_target(f"0:{text.strip()}")) and target.layers:
        return target.layers
    raise BadSetting(f"layers {short(text)}: expected FIRST-LAST, for example 0-3, or one layer, for example 4.")


def parse_edit(text: str) -> tuple[str, float]:
    """`smile=1.5` or `3:0-4=-2` -> the direction, and how many standard deviations to go. Raises `BadSetting`."""
    name, equals, amount = text.partition("=")
    try:
        if not equals:
            raise ValueError(text)
        return _direction(name.strip()), _finite(amount)
    except ValueError as error:
        raise BadSetting(
            f"edit {short(text)}: expected DIRECTION=NUMBER, for example smile=1.5, 3=-2 or 3:0-4=1 (component 3 on "
            "layers 0 to 4)."
        ) from error


def _direction(text: str) -> str:
    """A direction's name or number. Raises `ValueError` for what is neither."""
    if not (is_name(text) or parse_target(text)):
        raise ValueError(text)
    return text


def is_name(text: str) -> bool:
    """Whether a direction may have this name: it begins with a letter, and no axis of a grid is called so."""
    return text[:1].isalpha() and bool(_NAME.fullmatch(text)) and text not in (TRUNCATION, STRENGTH, MIX)


def parse_mix(text: str) -> Mix:
    """`7:4` -> layers 4 and up from seed 7. Raises `BadSetting`."""
    match = re.fullmatch(r"(\d{1,19}):(\d{1,6})", text.strip(), re.A)
    if not match or int(match[1]) > LARGEST_SEED:
        raise BadSetting(f"mix {short(text)}: expected SEED:LAYER, for example 7:4 for layers 4 and up from seed 7.")
    return Mix(int(match[1]), int(match[2]))


def parse_axis(option: str, text: str) -> Axis:
    """`smile=-2,0,2` -> an axis of a grid. `option`: rows or columns. Raises `BadSetting`."""
    key, equals, values = text.partition("=")
    key = key.strip()
    parts = values.split(",")
    if len(parts) > MOST_VALUES:
        raise BadSetting(f"{option} {short(text)}: at most {MOST_VALUES} values, not {len(parts)}.")
    try:
        if not equals:
            raise ValueError(text)
        if key == MIX:
            return Axis(key, tuple(parse_mix(part) for part in parts))
        if key not in (TRUNCATION, STRENGTH):
            _direction(key)
        return Axis(key, tuple(_finite(part) for part in parts))
    except ValueError as error:
        raise BadSetting(
            f"{option} {short(text)}: expected WHAT=VALUES, for example smile=-2,0,2 or 3:0-4=-2,0,2 (a direction), "
            "truncation=0.5,0.7,1, strength=0,0.5,1 or mix=7:4,8:4."
        ) from error


def parse_names(text: str, file: Path) -> dict[str, Target]:
    """The names that a person gave to directions, one a line: `smile = 3:0-4`. Raises `BadInput`.

    Empty lines and those that begin with # are skipped.
    """
    names: dict[str, Target] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, target = (part.strip() for part in line.partition("="))
        found = parse_target(target)
        if found is None or not is_name(name) or name in names:
            taken = f" {name} is named twice." if name in names else ""
            raise BadInput(
                f"{file}, line {number}: {short(line.strip())!r}: expected NAME = NUMBER or NAME = NUMBER:LAYERS, for "
                f"example smile = 3:0-4; a name begins with a letter and is not truncation, strength or mix.{taken}"
            )
        names[name] = found
    return names
