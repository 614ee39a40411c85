"""CORAL (Sun and Saenko 2016, arXiv 1607.01719; CORAL of DomainBed): match mean and covariance of features.

L = CE + γ mean over pairs of domains d < e of [ mean_j (μ_d - μ_e)_j² + mean_jk (C_d - C_e)_jk² ], with the mean μ and
the covariance C (over 1 / (B - 1)) of the pooled features.

As in DomainBed: the paper has no term of the mean, and divides by 4 d². Features are those before dropout; DomainBed's
are those after it.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from gen.errors import BadSetting
from gen.smos.algorithms.base import Algorithm, Batch, Terms


@dataclass(frozen=True)
class CORALOptions:
    """Options of CORAL."""

    gamma: Annotated[float, Field(ge=0)] = 1.0
    """γ."""


def coral(features: Tensor) -> Tensor:
    """The penalty of features (domains, B, d); 0 of a single domain."""
    means = features.mean(1)
    centred = features - means[:, None]
    covariances = centred.mT @ centred / (features.shape[1] - 1)
    pairs = [
        (means[d] - means[e]).square().mean() + (covariances[d] - covariances[e]).square().mean()
        for d, e in combinations(range(len(features)), 2)
    ]
    return torch.stack(pairs).mean() if pairs else features.sum() * 0


def check_two(batch: Batch, name: str) -> None:
    """Raises `BadSetting` if a domain has a single image."""
    if len(batch.labels) < 2 * batch.domains:
        raise BadSetting(f"batch: {name} needs at least 2 images of each domain in a step; set batch=2 or more.")


class CORAL(Algorithm[CORALOptions]):
    """Cross-entropy and the distance of moments."""

    options_class = CORALOptions

    @classmethod
    def describe(cls, options: CORALOptions) -> str:
        """The loss in words."""
        return f"cross-entropy + {options.gamma:g} distance of the domains' means and covariances"

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def joint_terms(self, batch: Batch) -> Terms:
        """γ times the penalty."""
        check_two(batch, "coral")
        if not self.options.gamma:
            return {}
        return {"coral": self.options.gamma * coral(batch.by_domain(batch.prediction.pooled.float()))}
