"""What algorithms share whose penalty starts after some steps."""

from abc import abstractmethod
from typing import Any

from torch.optim import Optimizer

from gen.smos.algorithms.base import Algorithm, O, Step, Terms

PUBLISHED_STEPS = 5001
"""Length of the published runs. A start that is published in steps is kept as a share of the run."""


def scaled(published: int, steps: int) -> int:
    """The same share of a run of this length."""
    return round(published * steps / PUBLISHED_STEPS)


class LatePenalty(Algorithm[O]):
    """Adam begins anew when the penalty starts, as in DomainBed: gradients jump there, and Adam's moments do not."""

    begun: Optimizer | None = None

    @abstractmethod
    def starts_at(self) -> int | None:
        """The step at which the penalty starts; None if it never does."""

    def optimizer(self, name: str, optimizer: Optimizer) -> Optimizer:
        """Adam, remembered."""
        if name == "student":
            self.begun = optimizer
        return optimizer

    def step(self, step: Step) -> Terms:
        """One step, with a new Adam if the penalty starts."""
        if step.number == self.starts_at() and self.begun is not None:
            state: dict[Any, Any] = self.begun.state
            state.clear()
        return super().step(step)
