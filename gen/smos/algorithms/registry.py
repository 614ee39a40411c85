"""The algorithms by name, one row each. To add one: write a class in a file of this folder and add its row here.

FILE.py:CLASS stands for a class in a file of the user's own, wherever the name of an algorithm is expected. It runs
with the user's rights, as any code of theirs; the page offers the names of this list alone.

This module imports no torch, so that the command line can list the names at once; `find` imports the class.
"""

import inspect
import re
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
    "sam": Row("gen.smos.algorithms.sam:SAM", "cross-entropy, sharpness-aware: two passes a step"),
    "groupdro": Row("gen.smos.algorithms.group_dro:GroupDRO", "domains weighted by their losses"),
    "domain_penalisation": Row("gen.smos.algorithms.group_dro:DomainPenalisation", "the same, anew each epoch"),
    "coral": Row("gen.smos.algorithms.coral:CORAL", "equal means and covariances of features"),
    "mixup": Row("gen.smos.algorithms.mixup:Mixup", "images mixed across domains"),
    "fishr": Row("gen.smos.algorithms.fishr:Fishr", "equal variances of gradients"),
    "irm": Row("gen.smos.algorithms.irm:IRM", "one classifier that is optimal in each domain"),
    "dsp_reg": Row("gen.smos.algorithms.dsp_reg:DSPReg", "small weights where domains disagree: our reading"),
    "udim": Row("gen.smos.algorithms.udim:UDIM", "sharpness-aware, and consistent in a perturbed domain"),
    "drm": Row("gen.smos.algorithms.drm:DRM", "a linear layer for each domain, mixed at test time"),
    "soma": Row("gen.smos.algorithms.soma:SoMA", "only the minor singular components of weights are tuned"),
    "boda": Row("gen.smos.algorithms.boda:BoDA", "classes aligned across domains by their counts"),
    "meta_dmoe": Row(
        "gen.smos.algorithms.meta_dmoe:MetaDMoE", "experts of the domains teach to adapt; adapts to target images"
    ),
    "gaqat": Row("gen.smos.algorithms.gaqat:GAQAT", "sharpness-aware training of a network of 3 or 4 bits"),
}


def register(name: str, algorithm: "str | type[Algorithm[Any]]", summary: str = "") -> None:
    """Add an algorithm from outside the package, before its name is used. Raises `BadSetting` if the name is taken.

    With the engine ray, make this call in a module that $GEN_PLUGINS names: its workers are new processes.
    """
    if name in ALGORITHMS:
        raise BadSetting(f"algorithm {name!r} is registered already; choose another name.")
    ALGORITHMS[name] = Row(algorithm, summary)


GROUNDED = re.compile(r"(smos|smos_kl|smos_released)\(([\w.+-]+|.+\.py:\w+)\)")
"""An algorithm that is grounded in a precursor, as in smos(coral)."""


def is_own(name: str) -> bool:
    """Whether the name is FILE.py:CLASS."""
    return GROUNDED.fullmatch(name) is None and name.rpartition(":")[0].endswith(".py")


def check_name(name: str) -> None:
    """Raises `BadSetting` for a name that is not registered, for FILE.py:CLASS without such a class, and for
    smos(NAME) without such a NAME.
    """
    grounded = GROUNDED.fullmatch(name)
    inner = grounded[2] if grounded else name
    if is_own(inner):
        find(inner)
    elif inner not in ALGORITHMS:
        raise BadSetting(unknown("algorithm", inner, ALGORITHMS))


def find(name: str) -> "type[Algorithm[Any]]":
    """The class of an algorithm. Raises `BadSetting` as `check_name`, and for one that cannot be grounded."""
    if is_own(name):
        return _own(name)
    check_name(name)
    if found := GROUNDED.fullmatch(name):
        from gen.smos.algorithms.smos import grounded

        return grounded(found[1], found[2], find(found[2]))
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
