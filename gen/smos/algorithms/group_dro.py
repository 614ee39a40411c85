"""GroupDRO (Sagawa et al. 2020, arXiv 1911.08731; GroupDRO of DomainBed): weight the domains by their losses.

q_d <- q_d exp(η L_d), normalised to Σ q_d = 1, with this step's losses; L = Σ q_d L_d. All q_d start equal.

Domain penalisation (arXiv 2408.01746, for detection, no public code): L = D Σ w_d L_d with w = softmax of the domains'
mean losses over the last epoch, and w_d = 1 / D in the first. The paper's body could not be read: this is what others
say of it. D is ours: without it the step would shrink by 1 / D after the first epoch. The draws here have no epochs, so
its length is an option.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.backbones import Classifier


@dataclass(frozen=True)
class GroupDROOptions:
    """Options of GroupDRO."""

    eta: Annotated[float, Field(ge=0)] = 0.01
    """η, how fast the weights follow the losses."""


class GroupDRO(Algorithm[GroupDROOptions]):
    """Keeps the exponents Σ η L_d of the weights: products of exponentials would overflow."""

    options_class = GroupDROOptions

    def __init__(self, options: GroupDROOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.exponents = torch.zeros(domains)

    @property
    def weights(self) -> Tensor:
        """q, (domains,)."""
        return self.exponents.softmax(0)

    @classmethod
    def describe(cls, options: GroupDROOptions) -> str:
        """The loss in words."""
        return f"cross-entropy of the domains, weighted by GroupDRO at rate {options.eta:g}"

    def terms(self, batch: Batch) -> Terms:
        """None: the weights come from the losses of the whole step."""
        return {}

    def joint_terms(self, batch: Batch) -> Terms:
        """Σ q_d L_d, after the losses have changed q."""
        each = batch.each_cross_entropy
        losses = batch.by_domain(each.detach()).mean(1)
        self.exponents = self.exponents.to(losses.device) + self.options.eta * losses
        return {"cross_entropy": weighted(each, self.weights)}

    def state(self) -> dict[str, Any]:
        """The exponents."""
        return {"exponents": self.exponents}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The exponents."""
        self.exponents = state["exponents"]


def weighted(each: Tensor, weights: Tensor) -> Tensor:
    """Σ_d w_d L_d of the cross-entropies (domains · B,) and weights (domains,)."""
    # As a mean over images with weights D w: at equal weights these are 1, and the gradient is ERM's bit by bit.
    scale = len(weights) * weights
    return (scale[:, None] * each.unflatten(0, (len(weights), -1))).mean()


@dataclass(frozen=True)
class PenalisationOptions:
    """Options of domain penalisation."""

    epoch: Annotated[int, Field(ge=1)] = 100
    """Steps after which the weights are computed anew."""


class DomainPenalisation(Algorithm[PenalisationOptions]):
    """The weights of an epoch follow from the losses of the one before."""

    options_class = PenalisationOptions

    def __init__(self, options: PenalisationOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.weights = torch.full((domains,), 1 / domains)
        self.sums = torch.zeros(domains)

    @classmethod
    def describe(cls, options: PenalisationOptions) -> str:
        """The loss in words."""
        return f"cross-entropy of the domains, weighted by the softmax of their losses every {options.epoch} steps"

    def terms(self, batch: Batch) -> Terms:
        """None: the losses of the whole step are collected."""
        return {}

    def joint_terms(self, batch: Batch) -> Terms:
        """D Σ w_d L_d, as a mean over images."""
        each = batch.each_cross_entropy
        weights = self.weights.to(each.device)
        self.sums = self.sums.to(each.device) + batch.by_domain(each.detach()).mean(1)
        if (batch.step + 1) % self.options.epoch == 0:
            self.weights = (self.sums / self.options.epoch).softmax(0)
            self.sums = torch.zeros_like(self.sums)
        return {"cross_entropy": weighted(each, weights)}

    def state(self) -> dict[str, Any]:
        """The weights, and the losses of this epoch."""
        return {"weights": self.weights, "sums": self.sums}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The weights, and the losses of this epoch."""
        self.weights, self.sums = state["weights"], state["sums"]
