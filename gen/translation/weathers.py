"""The weathers and directions that models name in their model_index.json, as data and in words."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from gen import weights
from gen.errors import BadSetting
from gen.translation.settings import DIRECTIONS, Direction

CLEAR = "clear day"
"""What lies on the other side of every adverse weather."""


def weathers_of(model: str | os.PathLike[str]) -> list[str]:
    """The adverse weathers that a model at hand names, for example ["night", "rainy night"]; [] where it names none.

    Raises `BadInput` for a name that is no model. Of a hub id nothing is known before it is downloaded: [].
    """
    return list(_index(model).get("weathers") or [])


def directions_of(model: str | os.PathLike[str]) -> list[Direction]:
    """The directions that a model's folder holds a generator for; both where nothing is known of it."""
    index = _index(model)
    return [d for d in DIRECTIONS if not index or index.get(d, [None])[0]]


def _index(model: str | os.PathLike[str]) -> dict[str, Any]:
    return weights.read_index(weights.resolve(model))


def check_weathers(names: Iterable[str]) -> list[str]:
    """Names as they are stored: small letters, "_" as a space. Raises `BadSetting` for an empty one and clear day."""
    checked = [" ".join(name.lower().replace("_", " ").split()) for name in names]
    for name in checked:
        if name in ("", "day", "clear", CLEAR):
            raise BadSetting(f"weather: {name!r} is not adverse; name what the model takes away, for example night.")
    return checked


def sentence(direction: Direction, weathers: Sequence[str]) -> str:
    """ "Night or rainy night to clear day", or the way back; "adverse weather" where the weathers are unknown."""
    adverse = any_of(weathers) or "adverse weather"
    text = f"{adverse} to {CLEAR}" if direction == "adverse_to_normal" else f"{CLEAR} to {adverse}"
    return text[0].upper() + text[1:]


def any_of(names: Sequence[str]) -> str:
    """ "fog", "night or fog", "night, rain or fog"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
