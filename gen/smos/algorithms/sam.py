"""SAM (Foret et al. 2021, arXiv 2010.01412; davda54/sam): look for weights whose whole neighbourhood has a low loss.

g = ∇L(θ); g' = ∇L(θ + ρ g / ‖g‖) on the same batch; the optimiser steps from θ with g'. The norm is that of all the
student's parameters together.

Of several processes or accumulation parts g is the gradient of the whole step, not of a part as in some codes. The
weights are put back from a copy, not by subtraction, so that they do not drift. Weight decay acts on g' only.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gen.smos.algorithms.base import Algorithm, Batch, Step, Terms
from gen.smos.backbones import statistics_kept


@dataclass(frozen=True)
class SAMOptions:
    """Options of SAM."""

    rho: Annotated[float, Field(ge=0)] = 0.05
    """ρ, the radius of the neighbourhood."""


@contextmanager
def moved(weights: Sequence[Tensor], directions: Sequence[Tensor], length: float | Tensor) -> Generator[None]:
    """Within the block each weight is θ + length · direction; afterwards θ, bit by bit."""
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, direction in zip(weights, directions, strict=True):
            weight.add_(direction * length)
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)


@contextmanager
def ascended(network: nn.Module, rho: float) -> Generator[None]:
    """Within the block the weights are θ + ρ g / ‖g‖ with their present gradients g; afterwards θ, bit by bit."""
    found = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    gradients = [g for _, g in found]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    with moved([p for p, _ in found], gradients, rho / (norm + 1e-12)):
        yield


class SAM(Algorithm[SAMOptions]):
    """Cross-entropy, twice a step."""

    options_class = SAMOptions

    @classmethod
    def describe(cls, options: SAMOptions) -> str:
        """The loss in words."""
        return f"cross-entropy, sharpness-aware with rho {options.rho:g}"

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def step(self, step: Step) -> Terms:
        """Up by ρ along the gradient, and down from where the weights were; records the loss before the ascent."""
        terms = step.backward()
        with ascended(self.student, self.options.rho), statistics_kept(self.student):
            step.backward()
        step.update()
        return terms
