"""Settings that are checked and converted when they are made, in Python as on the command line."""

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from gen.errors import BadSetting, short


class Checked:
    """Base of a frozen dataclass: each value must suit its field's type, and strings become paths and numbers.

    Raises `BadSetting`, which names the setting, for a value that does not suit, and for NaN and infinity.
    """

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, checked(type(self), name, value))


def checked(kind: type, name: str, value: Any) -> Any:
    """The value as field `name` of the dataclass `kind` holds it. Raises `BadSetting`."""
    try:
        converted = _adapters(kind)[name].validate_python(value)
    except ValidationError as error:
        raise readable(error, name) from error
    check_finite({name: converted})
    check_no_booleans({name: value}, {name: converted})
    return converted


@cache
def _adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    types = get_type_hints(kind, include_extras=True)
    return {field.name: TypeAdapter(types[field.name]) for field in fields(kind)}


def readable(error: ValidationError, *within: str) -> BadSetting:
    """The first mistake in words; `within`: names that lead to the value that was checked."""
    first = error.errors()[0]
    name = ".".join(map(str, (*within, *first["loc"])))
    if first["type"] == "missing":
        return BadSetting(f"{name}: this setting is required.")
    message = first["msg"].removeprefix("Value error, ")
    return BadSetting(f"{name}: {message}, but it is {short(repr(first['input']))}.")


def check_finite(settings: Mapping[str, Any]) -> None:
    """Raises `BadSetting` for NaN and infinity, which pass the comparisons that limit a setting."""
    for name, value in settings.items():
        for number in value if isinstance(value, tuple | list) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise BadSetting(f"{name} must be a finite number, not {number}.")


def check_no_booleans(given: Mapping[str, Any], converted: Mapping[str, Any]) -> None:
    """Raises `BadSetting` for a boolean that was converted to a number: width=true would be a width of 1."""
    for name, value in given.items():
        now = converted[name]
        if isinstance(value, list | tuple) and isinstance(now, list | tuple):
            numbered = [f"{name}.{number}" for number in range(len(value))]
            check_no_booleans(dict(zip(numbered, value, strict=True)), dict(zip(numbered, now, strict=True)))
        elif isinstance(value, bool) and isinstance(now, int | float) and not isinstance(now, bool):
            wanted = "integer" if isinstance(now, int) else "number"
            raise BadSetting(f"{name}: Input should be a valid {wanted}, but it is {value}.")
