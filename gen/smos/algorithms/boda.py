"""BoDA (Yang et al. 2022, arXiv 2203.09513; YyzHarry/multi-domain-imbalance): classes meet across domains, by counts.

μ_k: mean features of pair k = (domain, class) over the training images, taken anew every `every` steps in evaluation
mode: μ <- (1 - m) new + m old. N_k: its number of images. For image i of pair (d_i, c_i), with the number N_i:

ℓ_ik = -(‖μ_k - z_i‖ / N_i) (N_k / N_i)^ν / τ
L_B = -mean over i and k with c_k = c_i, d_k ≠ d_i of [ ℓ_ik - log Σ_{k' ≠ (d_i, c_i)} exp ℓ_ik' ]
L = CE + w_m CORAL + w_b L_B, the last from step `start` on.

Departures: a batch without a class that two domains share has L_B = 0 (there 0 / 0), and the logarithm is computed with
a shift (there it underflows for small N). The long-tailed data sets and the second stage, which trains the linear layer
again with balanced classes, are not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Algorithm, Batch, Step, Terms
from gen.smos.algorithms.coral import check_two, coral
from gen.smos.algorithms.late import scaled
from gen.smos.backbones import Classifier
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class BoDAOptions:
    """Options of BoDA."""

    alignment: Annotated[float, Field(ge=0)] = 0.1
    """w_b."""
    gamma: Annotated[float, Field(ge=0)] = 1.0
    """w_m."""
    start: Annotated[int, Field(ge=0)] = 500
    """Step at which L_B starts. Default: 500 of 5,001 steps, and the same share of other runs."""
    every: Annotated[int, Field(ge=1)] = 120
    """Steps between two passes over the training images."""
    calibration: Annotated[float, Field(ge=0)] = 0.5
    """ν."""
    softness: Annotated[float, Field(gt=0)] = 1.0
    """τ."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """m."""


def alignment(features: Tensor, labels: Tensor, means: Tensor, counts: Tensor, nu: float, tau: float) -> Tensor:
    """L_B of features (domains, B, d) with labels (domains, B); means (domains, classes, d), counts (domains, classes).

    A pair whose count is 0 does not exist.
    """
    pairs = [torch.arange(n, device=labels.device) for n in counts.shape]
    same_domain = (pairs[0][:, None] == pairs[0])[:, None, :, None]  # (domains, B, domains, classes), like all below
    same_class = (labels[..., None] == pairs[1])[:, :, None]
    own, there = same_domain & same_class, counts > 0
    distances = torch.linalg.vector_norm(features[:, :, None, None] - means, dim=-1)
    count = (own * counts).sum((2, 3), keepdim=True)
    scores = -(distances / count) * (counts / count) ** nu / tau
    others = scores.masked_fill(own | ~there, -torch.inf).logsumexp((2, 3), keepdim=True)
    positive = same_class & ~same_domain & there
    found = torch.where(positive, others - scores, 0)
    return found.sum() / positive.sum().clamp(min=1)


class BoDA(Algorithm[BoDAOptions]):
    """Cross-entropy, CORAL's penalty and L_B."""

    options_class = BoDAOptions

    def __init__(self, options: BoDAOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.means: Tensor | None = None
        """(domains, classes, d); None before the first pass."""
        self.counts = torch.zeros(0)
        """(domains, classes)."""

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """The start, as a share of the run."""
        return {"start": scaled(500, settings.steps)}

    @classmethod
    def describe(cls, options: BoDAOptions) -> str:
        """The loss in words."""
        return (
            f"cross-entropy + {options.gamma:g} distance of the domains' means and covariances + "
            f"{options.alignment:g} alignment of classes across domains, from step {options.start}"
        )

    def step(self, step: Step) -> Terms:
        """One step; before some, a pass over the training images."""
        o = self.options
        if o.alignment and (self.means is None or step.number % o.every == 0):
            means, self.counts = step.class_means()
            self.means = means if self.means is None else means.lerp(self.means.to(means.device), o.momentum)
        return super().step(step)

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def joint_terms(self, batch: Batch) -> Terms:
        """The weighted penalties."""
        check_two(batch, "boda")
        o, terms, pooled = self.options, Terms(), batch.prediction.pooled.float()
        if o.gamma:
            terms["coral"] = o.gamma * coral(batch.by_domain(pooled))
        if o.alignment and batch.step >= o.start:
            assert self.means is not None
            means, counts = (t.to(pooled.device) for t in (self.means, self.counts))
            labels = batch.by_domain(batch.labels)
            found = alignment(batch.by_domain(pooled), labels, means, counts, o.calibration, o.softness)
            terms["boda"] = o.alignment * found
        return terms

    def state(self) -> dict[str, Any]:
        """Means and counts."""
        return {"means": self.means, "counts": self.counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Means and counts."""
        self.means, self.counts = state["means"], state["counts"]
