"""SMOS (Luo et al., CVPR-W 2024, arXiv 2405.15961): ground the student in a frozen precursor.

L = CE + λ J(u, z) + β L_MI, with the pooled features u of the precursor and z of the student. In the paper J is the
Jensen-Shannon divergence; the published code computes other terms (see `gen.smos.losses`), which are here as separate
algorithms, for comparison.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from gen.smos import losses
from gen.smos.algorithms.base import Algorithm, Batch, Terms
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


class SMOS(Algorithm[SMOSOptions]):
    """J = D_JS(softmax(u / τ), softmax(z / τ))."""

    options_class = SMOSOptions
    reference = "precursor"
    lr_factors: ClassVar[Mapping[str, float]] = {"variances": 10.0}  # as published

    def __init__(self, options: SMOSOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.bound = losses.MutualInformationBound(student.body.channels)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """β is `mi_weight`, or if it is not set, a tenth of λ, the ratio in the published code."""
        s, weight = settings, settings.grounding_weight
        beta = weight / 10 if s.mi_weight is None else s.mi_weight
        return {"js_weight": weight, "temperature": s.temperature, "mi_weight": beta}

    @classmethod
    def describe(cls, options: SMOSOptions) -> str:
        """The loss in words."""
        term = cls.grounding_name(options)
        return f"cross-entropy + {options.js_weight:g} {term} + {options.mi_weight:g} L_MI to the precursor"

    @classmethod
    def grounding_name(cls, options: SMOSOptions) -> str:
        """The name of J."""
        return f"JS at temperature {options.temperature:g}"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.grounding_js(precursor, student, self.options.temperature)

    def networks(self) -> dict[str, nn.Module]:
        """The variances of L_MI."""
        return {"variances": self.bound}

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy, λ J and β L_MI; a term with weight 0 is not computed."""
        o, prediction = self.options, batch.prediction
        terms = {"cross_entropy": F.cross_entropy(prediction.logits.float(), batch.labels)}
        if o.js_weight:
            terms["grounding"] = o.js_weight * self.grounding(batch.reference.pooled, prediction.pooled)
        if o.mi_weight:
            terms["mutual_information"] = o.mi_weight * self.bound(prediction.maps, batch.reference.maps)
        return terms


class SMOSReleasedKL(SMOS):
    """J = what the published code calls KL: bounded below, but not a divergence of distributions."""

    @classmethod
    def grounding_name(cls, options: SMOSOptions) -> str:
        """The name of J."""
        return "released KL term"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.released_kl(precursor, student)


class SMOSReleasedJS(SMOS):
    """J = what the published code calls JS: not bounded below, so that a run may diverge."""

    @classmethod
    def grounding_name(cls, options: SMOSOptions) -> str:
        """The name of J."""
        return "released JS term"

    def grounding(self, precursor: Tensor, student: Tensor) -> Tensor:
        """J of pooled features (B, d)."""
        return losses.released_js(precursor, student)
