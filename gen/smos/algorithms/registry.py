"""The algorithms by name, one row each. To add one: write a class in a file of this folder and add its row here.

FILE.py:CLASS stands for a class in a file of the user's own, wherever the name of an algorithm is expected. It runs
with the user's rights, as any code of theirs; the page offers no algorithms.

This module imports no torch, so that the command line can list the names at once; `find` imports the class.
"""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from gen.errors import BadSetting, unknown
from gen.plugins import find_class

if TYPE_CHECKING:
    from gen.smos.algorithms.base import Algorithm


class Row(NamedTuple):
    """An algorithm's class, and what the command line says about it."""

    algorithm: "str | type[Algorithm[Any]]"
    """The class, or "module:Class" to import it on first use."""
    summary: str
    """A few words for help texts."""


ALGORITHMS: dict[str, Row] = {
    "erm": Row("gen.smos.algorithms.erm:ERM", "cross-entropy"),
    "miro": Row("gen.smos.algorithms.miro:MIRO", "cross-entropy and L_MI to the ImageNet weights"),
    "miro_precursor": Row("gen.smos.algorithms.miro:MIROPrecursor", "cross-entropy and L_MI to the precursor"),
    "smos": Row("gen.smos.algorithms.smos:SMOS", "cross-entropy, JS divergence and L_MI to the precursor"),
    "smos_kl": Row(
        "gen.smos.algorithms.smos:SMOSReleasedKL", "the published code's KL term, which is not a divergence"
    ),
    "smos_released": Row(
        "gen.smos.algorithms.smos:SMOSReleasedJS", "the published code's JS term, also not a divergence"
    ),
}


def register(name: str, algorithm: "str | type[Algorithm[Any]]", summary: str = "") -> None:
    """Add an algorithm from outside the package, before its name is used. Raises `BadSetting` if the name is taken.

    With the engine ray, make this call in a module that $GEN_PLUGINS names: its workers are new processes.
    """
    if name in ALGORITHMS:
        raise BadSetting(f"algorithm {name!r} is registered already; choose another name.")
    ALGORITHMS[name] = Row(algorithm, summary)


def is_own(name: str) -> bool:
    """Whether the name is FILE.py:CLASS."""
    return name.rpartition(":")[0].endswith(".py")


def check_name(name: str) -> None:
    """Raises `BadSetting` for a name that is not registered, and for FILE.py:CLASS without such a class."""
    if is_own(name):
        find(name)
    elif name not in ALGORITHMS:
        raise BadSetting(unknown("algorithm", name, ALGORITHMS))


def find(name: str) -> "type[Algorithm[Any]]":
    """The class of an algorithm. Raises `BadSetting` as `check_name`."""
    if is_own(name):
        return _own(name)
    check_name(name)
    algorithm = ALGORITHMS[name].algorithm
    if isinstance(algorithm, str):
        module, _, attribute = algorithm.partition(":")
        return getattr(import_module(module), attribute)
    return algorithm


def _own(name: str) -> "type[Algorithm[Any]]":
    from gen.smos.algorithms.base import Algorithm

    found = find_class(name, f"algorithm {name}")
    if found is None or not issubclass(found, Algorithm) or inspect.isabstract(found):
        raise BadSetting(
            f"algorithm {name}: name a subclass of gen.smos.algorithms.base.Algorithm that has `terms` and `describe`, "
            "as FILE.py:CLASS."
        )
    return found


def summaries() -> str:
    """All names with their summaries, for help texts."""
    return "; ".join(f"{name}: {row.summary}" for name, row in ALGORITHMS.items())
