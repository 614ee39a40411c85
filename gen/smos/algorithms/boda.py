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
    calibration: float = 0.5
    """ν."""
    softness: Annotated[float, Field(gt=0)] = 1.0
    """τ."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """m."""


@dataclass(frozen=True)
class Centroids:
    """Of all pairs that have images."""

    means: Tensor
    """(pairs, d)."""
    counts: Tensor
    """(pairs,)."""
    domains: Tensor
    classes: Tensor
    """(pairs,) each."""


def alignment(features: Tensor, labels: Tensor, domains: Tensor, c: Centroids, nu: float, tau: float) -> Tensor:
    """L_B of features (B, d), whose labels and domains are (B,)."""
    distances = torch.linalg.vector_norm(features[:, None] - c.means, dim=-1)
    same_class, same_domain = labels[:, None] == c.classes, domains[:, None] == c.domains
    own = same_class & same_domain
    count = (own * c.counts).sum(1, keepdim=True)
    scores = -(distances / count) * (c.counts / count) ** nu / tau
    others = scores.masked_fill(own, -torch.inf).logsumexp(1, keepdim=True)
    positive = same_class & ~same_domain
    if not positive.any():
        return features.sum() * 0
    return -(scores - others)[positive].mean()


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
            each = len(batch.labels) // batch.domains
            domains = torch.arange(batch.domains, device=pooled.device).repeat_interleave(each)
            found = alignment(pooled, batch.labels, domains, self.centroids(pooled), o.calibration, o.softness)
            terms["boda"] = o.alignment * found
        return terms

    def centroids(self, like: Tensor) -> Centroids:
        """Those of pairs that have images."""
        assert self.means is not None
        means, counts = self.means.to(like.device), self.counts.to(like.device)
        domains, classes = counts.nonzero(as_tuple=True)
        return Centroids(means[domains, classes], counts[domains, classes], domains, classes)

    def state(self) -> dict[str, Any]:
        """Means and counts."""
        return {"means": self.means, "counts": self.counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Means and counts."""
        self.means, self.counts = state["means"], state["counts"]
