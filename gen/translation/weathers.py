"""The weathers, directions and working size that models name in their model_index.json, as data and in words."""

import logging
import os
from collections.abc import Iterable, Sequence
from typing import Any

from gen import weights
from gen.errors import BadSetting
from gen.translation.settings import DIRECTIONS, Direction

log = logging.getLogger(__name__)

CLEAR = "clear day"
"""The other domain of every model."""


def weathers_of(model: str | os.PathLike[str]) -> list[str]:
    """The adverse weathers that a model names, for example ["night", "rainy night"]; [] if it names none.

    Raises `BadInput` for an unknown model. For a hub id, [] until it is downloaded.
    """
    return weights.texts(_index(model).get("weathers"))


def tell_of_lost_weathers(folder: os.PathLike[str], weathers: Sequence[str]) -> None:
    """A warning before an export to `folder` if the model there names weathers that the new one does not."""
    lost = [name for name in weights.texts(weights.read_index(folder).get("weathers")) if name not in weathers]
    if lost:
        log.warning(
            "%s names %s, and this export does not, so --model auto will not pick it for that: to name a weather, give "
            "--weather",
            folder,
            any_of(lost),
        )


def directions_of(model: str | os.PathLike[str]) -> list[Direction]:
    """The directions that a model folder has a generator for; both for a hub id that is not downloaded yet."""
    index = _index(model)
    return [d for d in DIRECTIONS if not index or index.get(d) not in (None, [None, None])]


def rows_of(model: str | os.PathLike[str]) -> int | None:
    """Rows of the frames that a model was made for, which resolution "auto" takes; None if it names none."""
    index = _index(model)
    rows = index.get("auto_height") or index.get("trained_height")
    return rows if isinstance(rows, int) else None


def _index(model: str | os.PathLike[str]) -> dict[str, Any]:
    return weights.read_index(weights.resolve(model))


def check_weathers(names: Iterable[str]) -> list[str]:
    """Normalise names: lower case, spaces for "_". Raises `BadSetting` for an empty name and for clear day."""
    checked = [" ".join(name.lower().replace("_", " ").split()) for name in names]
    for name in checked:
        if name in ("", "day", "clear", CLEAR):
            raise BadSetting(f"weather must be adverse, for example night or fog, not {name!r}.")
    return checked


def sentence(direction: Direction, weathers: Sequence[str]) -> str:
    """ "Night or rainy night to clear day", or the reverse; "adverse weather" if the weathers are unknown."""
    adverse = any_of(weathers) or "adverse weather"
    text = f"{adverse} to {CLEAR}" if direction == "adverse_to_normal" else f"{CLEAR} to {adverse}"
    return text[0].upper() + text[1:]


def any_of(names: Sequence[str]) -> str:
    """ "fog", "night or fog", "night, rain or fog"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
