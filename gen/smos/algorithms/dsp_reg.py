"""DSP-Reg (arXiv 2601.19394): keep parameters small whose gradients differ between domains.

Known from the abstract alone: the sensitivity of a parameter is found from the covariance of its gradients across the
source domains, and a soft penalty favours parameters that are invariant and suppresses sensitive ones. The formula, the
weight and any schedule are not public, and there is no code. **This is a reading**, and its weights are ours:

g_d = ∇L_d of each domain; s_j = 1/D Σ_d (g_dj - ḡ_j)², the diagonal of the covariance; ŝ = moving average of s, divided
by its mean over the tensor that j belongs to. The update is that of L = mean_d L_d + λ Σ_j ŝ_j (θ_j - a_j)², ŝ without
gradient, with a = 0, or a = the weights at the start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from gen.smos.algorithms.base import Algorithm, Batch, Step, Terms
from gen.smos.backbones import Classifier


@dataclass(frozen=True)
class DSPRegOptions:
    """Options of DSP-Reg, as we read it."""

    penalty: Annotated[float, Field(ge=0)] = 1e-4
    """λ."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Share of the earlier sensitivities in their moving average."""
    towards: Literal["zero", "start"] = "zero"
    """a."""


class MeanAndVariance:
    """Of gradients that come one after another, in the memory of two sets (Welford 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: list[Tensor] = []
        self.squares: list[Tensor] = []
        """Σ (g - ḡ)²."""

    def add(self, gradients: list[Tensor]) -> None:
        """One more set."""
        self.count += 1
        if self.count == 1:
            self.mean, self.squares = [g.clone() for g in gradients], [torch.zeros_like(g) for g in gradients]
            return
        for mean, squares, gradient in zip(self.mean, self.squares, gradients, strict=True):
            difference = gradient - mean
            mean.add_(difference / self.count)
            squares.addcmul_(difference, gradient - mean)

    def variance(self) -> list[Tensor]:
        """Over 1 / count."""
        return [squares / self.count for squares in self.squares]


class DSPReg(Algorithm[DSPRegOptions]):
    """A forward and a backward for each domain."""

    options_class = DSPRegOptions

    def __init__(self, options: DSPRegOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        self.sensitivity: list[Tensor] = []
        """Moving average of s, of each trained parameter; empty before the first step."""
        self.start: list[Tensor] = []
        """a, if it is not zero."""

    @classmethod
    def describe(cls, options: DSPRegOptions) -> str:
        """The loss in words."""
        return (
            f"cross-entropy + {options.penalty:g} squares of the weights (from {options.towards}), each times the "
            "variance of its gradient over the domains"
        )

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def step(self, step: Step) -> Terms:
        """The mean gradient of the domains, with the penalty's added."""
        o = self.options
        if not o.penalty:
            return super().step(step)
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        if o.towards == "start" and not self.start:
            self.start = [p.detach().clone() for p in parameters]
        found, terms, others = MeanAndVariance(), list[Terms](), MeanAndVariance()
        beside = [p for network in self.networks().values() for p in network.parameters()]
        for domain in range(step.domains):
            terms.append(step.backward(domain))
            found.add([_gradient(p) for p in parameters])
            others.add([_gradient(p) for p in beside])
        for parameter, mean in zip([*parameters, *beside], [*found.mean, *others.mean], strict=True):
            parameter.grad = mean
        self._average(found.variance())
        penalty = self._pull(parameters)
        step.update()
        return {k: torch.stack([t[k] for t in terms]).mean() for k in terms[0]} | {"dsp_reg": penalty}

    def _average(self, variance: list[Tensor]) -> None:
        if not self.sensitivity:
            self.sensitivity = variance
            return
        for kept, new in zip(self.sensitivity, variance, strict=True):
            kept.lerp_(new, 1 - self.options.ema)

    @torch.no_grad()
    def _pull(self, parameters: Sequence[Tensor]) -> Tensor:
        """Add the penalty's gradient to the parameters'; returns the penalty."""
        total = torch.zeros((), device=parameters[0].device)
        for n, (parameter, kept) in enumerate(zip(parameters, self.sensitivity, strict=True)):
            weight = self.options.penalty * relative(kept)
            offset = parameter - self.start[n] if self.start else parameter
            assert parameter.grad is not None
            parameter.grad.add_(2 * weight * offset)
            total += (weight * offset.square()).sum()
        return total

    def state(self) -> dict[str, Any]:
        """Sensitivities and starting weights."""
        return {"sensitivity": self.sensitivity, "start": self.start}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Sensitivities and starting weights."""
        self.sensitivity, self.start = list(state["sensitivity"]), list(state["start"])


def relative(sensitivity: Tensor) -> Tensor:
    """ŝ: divided by its mean over the tensor; 0 if all are 0."""
    return sensitivity / sensitivity.mean().clamp(min=torch.finfo(sensitivity.dtype).tiny)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
