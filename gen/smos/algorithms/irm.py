"""IRM (Arjovsky et al. 2019, arXiv 1907.02893; IRM of DomainBed): one classifier that is optimal in every domain.

L = CE + λ mean_d P_d. P_d = g_d,1 g_d,2 estimates the squared gradient of L_d with respect to a factor s = 1 of the
logits l without bias: g is the gradient on every second image. It is written out: g = mean[ Σ_k p_k l_k - l_y ].
Before its start the penalty has the weight 1, as in DomainBed; then λ, and a new Adam.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Batch, Terms
from gen.smos.algorithms.coral import check_two
from gen.smos.algorithms.late import LatePenalty, scaled
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class IRMOptions:
    """Options of IRM."""

    penalty: Annotated[float, Field(ge=0)] = 100.0
    """λ."""
    early_penalty: Annotated[float, Field(ge=0)] = 1.0
    """The weight before `start`."""
    start: Annotated[int, Field(ge=0)] = 500
    """Step at which λ applies. Default: 500 of 5,001 steps, and the same share of other runs."""


def irm_penalty(logits: Tensor, labels: Tensor) -> Tensor:
    """mean_d P_d of logits (domains, B, classes) and labels (domains, B)."""
    right = logits.gather(-1, labels[..., None])[..., 0]
    gradient = (logits.softmax(-1) * logits).sum(-1) - right  # of each image's loss with respect to s
    return (gradient[:, ::2].mean(1) * gradient[:, 1::2].mean(1)).mean()


class IRM(LatePenalty[IRMOptions]):
    """Cross-entropy and the penalty."""

    options_class = IRMOptions

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """The start, as a share of the run."""
        return {"start": scaled(500, settings.steps)}

    @classmethod
    def describe(cls, options: IRMOptions) -> str:
        """The loss in words."""
        before = f" ({options.early_penalty:g} before step {options.start})" if options.start else ""
        return (
            f"cross-entropy + {options.penalty:g}{before} squared gradient of each domain's loss by the logits' scale"
        )

    def starts_at(self) -> int | None:
        """`start`."""
        return self.options.start if self.options.penalty != self.options.early_penalty else None

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def joint_terms(self, batch: Batch) -> Terms:
        """The weighted penalty."""
        check_two(batch, "irm")
        o = self.options
        weight = o.penalty if batch.step >= o.start else o.early_penalty
        if not weight:
            return {}
        logits, labels = batch.by_domain(batch.prediction.logits.float()), batch.by_domain(batch.labels)
        return {"irm": weight * irm_penalty(logits, labels)}
