"""Fishr (Rame et al. 2022, arXiv 2109.02934; alexrame/fishr): the same variance of gradients in every domain.

v_d = variance (over 1 / B) within domain d of the gradients of each image's loss with respect to the linear layer.
m_d <- γ m_d + (1 - γ) v_d, u_d = m_d / (1 - γ), without gradients of earlier steps; ū = mean_d u_d.
L = CE + λ mean_d mean_j (u_d - ū)_j², from step `start` on, with a new Adam there; m is kept from the first step on.

For a linear layer the gradient of image i is (p_i - y_i) z_iᵀ, so that v needs no gradient per image (published:
BackPACK). As published: a mean over the layer's weights and not a sum, so λ depends on the number of classes. Unlike
published: m is in the checkpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Batch, Terms
from gen.smos.algorithms.late import LatePenalty, scaled
from gen.smos.backbones import Classifier
from gen.smos.settings import SMOSSettings


@dataclass(frozen=True)
class FishrOptions:
    """Options of Fishr."""

    penalty: Annotated[float, Field(ge=0)] = 1000.0
    """λ."""
    start: Annotated[int, Field(ge=0)] = 1500
    """Step at which the penalty starts. Default: 1,500 of 5,001 steps, and the same share of other runs."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """γ."""


def residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """p - y of logits (..., classes) and labels (...): the gradient of the cross-entropy by the logits."""
    right = labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)
    return logits.softmax(-1) - right.to(logits.dtype)


def gradient_variance(logits: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """v of logits (..., B, classes), the linear layer's inputs (..., B, d) and labels (..., B).

    (..., classes · (d + 1)): the weight, then the bias.
    """
    residual = residuals(logits, labels)
    inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], -1)  # the bias is the weight of an input 1
    mean = residual.mT @ inputs / labels.shape[-1]
    square = residual.square().mT @ inputs.square() / labels.shape[-1]
    variance = square - mean.square()
    return torch.cat([variance[..., :-1].flatten(-2), variance[..., -1]], -1)


class Fishr(LatePenalty[FishrOptions]):
    """Cross-entropy and the penalty."""

    options_class = FishrOptions

    def __init__(self, options: FishrOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.mean = torch.zeros(domains, 1)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """The start, as a share of the run."""
        return {"start": scaled(1500, settings.steps)}

    @classmethod
    def describe(cls, options: FishrOptions) -> str:
        """The loss in words."""
        return f"cross-entropy + {options.penalty:g} distance of the variances of gradients, from step {options.start}"

    def starts_at(self) -> int | None:
        """`start`."""
        return self.options.start if self.options.penalty else None

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def joint_terms(self, batch: Batch) -> Terms:
        """λ times the penalty once it has started; before that only m is kept."""
        o, p = self.options, batch.prediction
        inputs = p.pooled if p.head_input is None else p.head_input
        columns = (batch.by_domain(x) for x in (p.logits.float(), inputs.float(), batch.labels))
        mean = o.ema * self.mean.to(p.logits.device) + (1 - o.ema) * gradient_variance(*columns)
        self.mean = mean.detach()
        if not o.penalty or batch.step < o.start:
            return {}
        corrected = mean / (1 - o.ema)
        return {"fishr": o.penalty * (corrected - corrected.mean(0)).square().mean()}

    def state(self) -> dict[str, Any]:
        """m."""
        return {"mean": self.mean}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """m."""
        self.mean = state["mean"]
