"""Read JSON that other people made: bounded in size, and one kind of error for all that can be wrong with it."""

import json
from pathlib import Path
from typing import Any, NoReturn

from gen.errors import BadInput

LARGEST = 16_000_000
"""Bytes of a JSON file."""

LARGEST_CONFIG = 1_000_000
"""Bytes of a JSON file that describes a model."""

MOST_DIGITS = 300
"""Of an integer; 1e308 is the largest float."""


def parse_json(content: bytes | str, name: str) -> Any:
    """The value that a text holds. Raises `BadInput`, which calls the text `name`.

    NaN and Infinity are refused: they are no JSON, and pass every comparison that should stop them. So are integers
    that no float can hold: arithmetic with them raises `OverflowError`.
    """
    try:
        return json.loads(content, parse_constant=_refuse, parse_int=_integer)
    except RecursionError as error:
        raise BadInput(f"{name}: this is no valid JSON (nested too deeply).") from error
    except ValueError as error:  # malformed, not UTF-8, or an integer of thousands of digits
        reason = str(error).splitlines()[0]
        raise BadInput(f"{name}: this is no valid JSON ({reason}).") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def read_json(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file. Raises `BadInput` if there is none, or it is longer than `largest` bytes."""
    content = parse_json(read_bytes(path, largest), str(path))
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected a JSON object with names and values, not {type(content).__name__}.")
    return content


def json_if_whole(path: Path, largest: int = LARGEST) -> dict[str, Any]:
    """The object in a JSON file that a run can do without; {} if there is none, or the file is damaged."""
    try:
        return read_json(path, largest)
    except BadInput:
        return {}


def read_bytes(path: Path, largest: int) -> bytes:
    """The content of a file. Raises `BadInput` if it cannot be read, or is longer than `largest` bytes."""
    if path.exists() and not path.is_file():  # a pipe would never end
        raise BadInput(f"{path}: this is no regular file.")
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except OSError as error:
        raise BadInput(f"{path}: this file cannot be read ({error.strerror or error}).") from error
    if len(content) > largest:
        raise BadInput(f"{path}: this file is larger than {largest / 1e6:g} MB; it cannot be what is expected here.")
    return content
