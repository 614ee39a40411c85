"""DRM (Zhang et al. 2022, arXiv 2208.08661; in yfzhang114/AdaNPC): a linear layer for each domain, chosen by entropy.

Training: L = mean_d ½ [ CE(h_d(z_d), y) + CE(h_0(z_d), y) ], with the features z_d of domain d, its own layer h_d and
the shared one h_0.
Prediction: p = Σ_d w_d p_d over the domains' layers, w_d ∝ H(p_d)^-γ for each image, with the entropy H; γ = -1 takes
the layer of least entropy, γ = 0 the mean. If all layers agree, p is what they say.
Retraining at test time (off by default, because it learns from the target's images): where the pseudo-label ŷ of an
image has a probability of at least `confidence`, `adapt_steps` steps of Adam on the cross-entropy of all layers to ŷ.

Departures from the public code: the weights add up to 1 over the layers that are mixed (there over one more); entropies
are floored, so that 0 needs no special case; pseudo-labels are probabilities (there a softmax of probabilities, which
rarely reaches the confidence); each batch starts from the trained layers and is predicted after the last step (there
layers go on from batch to batch, and the order of images matters); features are not retrained (their DRMFull).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.backbones import Classifier

HARD = -1
"""γ of the least entropy."""


@dataclass(frozen=True)
class DRMOptions:
    """Options of DRM. The paper searches the last five; these are values from its grid."""

    steering: Annotated[float, Field(ge=HARD)] = 1.0
    """γ; -1: the layer of least entropy."""
    adapt_steps: Annotated[int, Field(ge=0)] = 0
    """Steps on each batch of the target at test time; 0: none."""
    adapt_lr: Annotated[float, Field(gt=0)] = 5e-5
    """Learning rate of these steps."""
    adapt_labels: Literal["mixture", "mean", "shared", "own"] = "mixture"
    """Pseudo-labels by the prediction, the mean of the domains' layers, h_0, or each layer's own."""
    confidence: Annotated[float, Field(ge=0)] = 0.75
    """Probability from which a pseudo-label is used."""


def steer(logits: Tensor, gamma: float) -> Tensor:
    """Logits (domains, B, classes) of the layers -> log p (B, classes)."""
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    if gamma == HARD:
        return log_p[entropy.argmin(0), torch.arange(logits.shape[1], device=logits.device)]
    log_w = (-gamma * entropy.clamp(min=1e-6).log()).log_softmax(0)
    return (log_p + log_w[..., None]).logsumexp(0)


class DRM(Algorithm[DRMOptions]):
    """The student's own linear layer is h_0; the domains' are a network beside it."""

    options_class = DRMOptions
    predicts_with = ("heads",)

    def __init__(self, options: DRMOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        # All start as h_0 does, so that they differ by what they learn.
        self.heads = nn.ModuleList([copy.deepcopy(student.head) for _ in range(domains)])

    @classmethod
    def describe(cls, options: DRMOptions) -> str:
        """The loss in words."""
        how = "least entropy" if options.steering == HARD else f"entropy^-{options.steering:g}"
        adapted = f", retrained at test time in {options.adapt_steps} steps" if options.adapt_steps else ""
        return f"cross-entropy of a shared layer and one for each domain, mixed by {how}{adapted}"

    def networks(self) -> dict[str, nn.Module]:
        """The domains' layers."""
        return {"heads": self.heads}

    def terms(self, batch: Batch) -> Terms:
        """Half the cross-entropy of the shared layer, and half that of the domains' own."""
        p = batch.prediction
        inputs = batch.by_domain((p.pooled if p.head_input is None else p.head_input).float())
        own = torch.cat([head(z) for head, z in zip(self.heads, inputs, strict=True)])
        return {"cross_entropy": batch.cross_entropy / 2, "own_cross_entropy": F.cross_entropy(own, batch.labels) / 2}

    def predict(self, images: Tensor) -> Tensor:
        """Log-probabilities of the mixture."""
        shared, pooled, *_ = self.student(images)
        return self.mix(pooled.float(), shared.float())

    def mix(self, pooled: Tensor, shared: Tensor) -> Tensor:
        """Features (B, d) and logits of h_0 -> log p."""
        heads = self._retrained(pooled, shared) if self.options.adapt_steps else self.heads
        return steer(_logits(heads, pooled), self.options.steering)

    def _retrained(self, pooled: Tensor, shared: Tensor) -> Sequence[nn.Module]:
        o, heads = self.options, copy.deepcopy(self.heads).requires_grad_()
        adam = torch.optim.Adam(heads.parameters(), lr=o.adapt_lr)
        for _ in range(o.adapt_steps):
            with torch.enable_grad():
                logits = _logits(heads, pooled)
                probability, labels = self._pseudo(logits.detach(), shared).max(-1)
                each = F.cross_entropy(logits.transpose(1, 2), labels.expand(logits.shape[:2]), reduction="none")
                sure = (probability >= o.confidence).expand_as(each)
                if not sure.any():
                    break
                adam.zero_grad()
                each[sure].mean().backward()
            adam.step()
        return list(heads)

    def _pseudo(self, logits: Tensor, shared: Tensor) -> Tensor:
        """Probabilities (domains or 1, B, classes) of the pseudo-labels."""
        match self.options.adapt_labels:
            case "own":
                return logits.softmax(-1)
            case "shared":
                return shared.softmax(-1)[None]
            case "mean":
                return logits.softmax(-1).mean(0, keepdim=True)
            case "mixture":
                return steer(logits, self.options.steering).exp()[None]


def _logits(heads: Sequence[nn.Module] | nn.ModuleList, pooled: Tensor) -> Tensor:
    """(domains, B, classes)."""
    return torch.stack([head(pooled).float() for head in heads])
