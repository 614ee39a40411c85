"""SMOS (Luo et al., CVPR-W 2024, arXiv 2405.15961): ground the student in a frozen precursor.

L = CE + λ J(u, z) + β L_MI, with the pooled features u of the precursor and z of the student. In the paper J is the
Jensen-Shannon divergence; the published code computes other terms (see `gen.smos.losses`), which are here as separate
algorithms, for comparison.

The two terms can be added to those of another algorithm in place of CE: `smos(coral)` and so on, see `grounded`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, make_dataclass
from functools import cache
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from gen.errors import BadSetting
from gen.smos import losses
from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.algorithms.erm import ERM
from gen.smos.backbones import Classifier
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class SMOSOptions:
    """Options of SMOS and its variants."""

    js_weight: float = 1.0
    """λ."""
    temperature: float = 1.0
    """Of the softmax in the JS divergence; the released terms have none."""
    mi_weight: float = 0.1
    """β."""


class Grounding(Algorithm[Any]):
    """Adds λ J and β L_MI to the loss of the algorithm that follows it among the bases of a class.

    J = D_JS(softmax(u / τ), softmax(z / τ)).
    """

    reference = "precursor"

    def __init__(self, options: Any, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.bound = losses.MutualInformationBound(student.body.channels)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """β is `mi_weight`, or if it is not set, a tenth of λ, the ratio in the published code."""
        s, weight = settings, settings.grounding_weight
        beta = weight / 10 if s.mi_weight is None else s.mi_weight
        own = {"js_weight": weight, "temperature": s.temperature, "mi_weight": beta}
        return {**super().from_settings(settings), **own}

    @classmethod
    def describe(cls, options: Any) -> str:
        """The loss in words."""
        term, others = cls.grounding_name(options), cast(Any, super()).describe(options)
        return f"{others} + {options.js_weight:g} {term} + {options.mi_weight:g} L_MI to the precursor"

    @classmethod
    def grounding_name(cls, options: Any) -> str:
        """The name of J."""
        return f"JS at temperature {options.temperature:g}"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.grounding_js(precursor, student, self.options.temperature)

    def networks(self) -> dict[str, nn.Module]:
        """The variances of L_MI, beside the networks of the other algorithm."""
        return {**super().networks(), "variances": self.bound}

    def terms(self, batch: Batch) -> Terms:
        """The other terms, λ J and β L_MI; a term with weight 0 is not computed."""
        o, terms = self.options, dict[str, Tensor](cast(Any, super()).terms(batch))
        if o.js_weight:
            terms["grounding"] = o.js_weight * self.grounding(batch.reference.pooled, batch.prediction.pooled)
        if o.mi_weight:
            terms["mutual_information"] = o.mi_weight * self.bound(batch.prediction.maps, batch.reference.maps)
        return terms


class GroundingReleasedKL(Grounding):
    """J = what the published code calls KL: bounded below, but not a divergence of distributions."""

    @classmethod
    def grounding_name(cls, options: Any) -> str:
        """The name of J."""
        return "released KL term"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.released_kl(precursor, student)


class GroundingReleasedJS(Grounding):
    """J = what the published code calls JS: not bounded below, so that a run may diverge."""

    @classmethod
    def grounding_name(cls, options: Any) -> str:
        """The name of J."""
        return "released JS term"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.released_js(precursor, student)


GROUNDINGS: dict[str, type[Grounding]] = {
    "smos": Grounding,
    "smos_kl": GroundingReleasedKL,
    "smos_released": GroundingReleasedJS,
}
"""What can ground another algorithm, by the name of its grounded ERM."""


@cache
def grounded(grounding: str, name: str, inner: type[Algorithm[Any]]) -> type[Algorithm[Any]]:
    """The class of `inner` with the terms of `grounding`; `name`: of `inner`, for messages.

    It has the options, networks and hooks of both. All passes of a step have the terms, unless `inner` gives
    `Step.backward` a loss of its own. Raises `BadSetting` if `inner` compares with a frozen network itself, or has
    options of the same names.
    """
    base = GROUNDINGS[grounding]
    if inner.reference != "none":
        raise BadSetting(f"{grounding}({name}): {name} has a frozen network of its own, and there is room for one.")
    own = {field.name for field in fields(inner.options_class)}
    if double := own & {field.name for field in fields(SMOSOptions)}:
        raise BadSetting(f"{grounding}({name}): both have an option {min(double)}; rename that of {name}.")
    members = {
        "options_class": make_dataclass("Options", [], bases=(inner.options_class, SMOSOptions), frozen=True),
        "lr_factors": {**inner.lr_factors, "variances": 10.0},  # as published
        "__doc__": f"{inner.__name__} with the terms of {grounding}.",
        "__module__": inner.__module__,  # for the record of algorithms from outside the package
    }
    return cast(type[Algorithm[Any]], type(inner.__name__, (base, inner), members))


class SMOS(Grounding, ERM):
    """Grounded ERM."""

    options_class = SMOSOptions
    lr_factors: ClassVar[Mapping[str, float]] = {"variances": 10.0}  # as published


class SMOSReleasedKL(GroundingReleasedKL, ERM):
    """The same with the published code's KL term."""

    options_class = SMOSOptions
    lr_factors: ClassVar[Mapping[str, float]] = {"variances": 10.0}


class SMOSReleasedJS(GroundingReleasedJS, ERM):
    """The same with the published code's JS term."""

    options_class = SMOSOptions
    lr_factors: ClassVar[Mapping[str, float]] = {"variances": 10.0}
