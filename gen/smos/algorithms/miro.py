"""MIRO (Cha et al. 2022, arXiv 2203.10789): keep the mutual information with the features of a frozen network.

L = CE + β L_MI, with L_MI from `gen.smos.losses.MutualInformationBound`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.backbones import Classifier
from gen.smos.losses import MutualInformationBound
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class MIROOptions:
    """Options of MIRO."""

    mi_weight: float = 0.01
    """β."""


class MIRO(Algorithm[MIROOptions]):
    """The frozen network is the one that the student starts from, as published."""

    options_class = MIROOptions
    reference = "start"
    lr_factors: ClassVar[Mapping[str, float]] = {"variances": 10.0}  # as published

    def __init__(self, options: MIROOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.bound = MutualInformationBound(student.body.channels)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """β is `mi_weight`, or if it is not set, `miro_weight`."""
        return {"mi_weight": settings.miro_weight if settings.mi_weight is None else settings.mi_weight}

    @classmethod
    def describe(cls, options: MIROOptions) -> str:
        """The loss in words."""
        return f"cross-entropy + {options.mi_weight:g} L_MI to ImageNet"

    def networks(self) -> dict[str, nn.Module]:
        """The variances of L_MI."""
        return {"variances": self.bound}

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy and β L_MI."""
        prediction = batch.prediction
        terms = {"cross_entropy": batch.cross_entropy}
        if self.options.mi_weight:
            terms["mutual_information"] = self.options.mi_weight * self.bound(prediction.maps, batch.reference.maps)
        return terms


class MIROPrecursor(MIRO):
    """The same with the precursor as the frozen network: SMOS without its JS term, for ablation."""

    reference = "precursor"

    @classmethod
    def describe(cls, options: MIROOptions) -> str:
        """The loss in words."""
        return f"cross-entropy + {options.mi_weight:g} L_MI to the precursor"
