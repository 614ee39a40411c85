"""SWAD (Cha et al. 2021): the mean of the weights of all steps in the valley of the validation loss.

Steps between two evaluations make a segment, whose weights are averaged. The valley begins where the oldest of the
last `converge` evaluations has the lowest loss, reaching back over up to `tolerance` - `converge` more whose loss is
below the threshold: the mean of those `converge` losses, times 1 + `ratio`. It ends before `tolerance` evaluations in
a row above the threshold; then training may stop. The result is the plain mean of the valley's segments.

This is the method as it is described. The published code stops at the same evaluations, but reaches back over one
evaluation less and counts the segment of convergence twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass
class MeanOfWeights:
    """The mean of however many sets of weights, without keeping them."""

    count: int = 0
    mean: Weights = field(default_factory=dict[str, Tensor])

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """One more set: its floating-point values are averaged, the others are the last ones."""
        self.count += 1
        for name, value in weights.items():
            if self.count == 1 or not value.is_floating_point():
                self.mean[name] = value.detach().clone()
            else:
                self.mean[name].lerp_(value.detach(), 1 / self.count)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"count": self.count, "mean": self.mean}


@dataclass
class Segment:
    """The mean weights between two evaluations, and the validation loss at the end."""

    weights: Weights
    loss: float


@dataclass
class LossValley:
    """SWAD as it goes. Call `step` after each training step, `evaluated` after each evaluation."""

    converge: int = 3
    tolerance: int = 6
    ratio: float = 0.3
    threshold: float | None = None
    """Losses up to this belong to the valley; None: it has not been reached."""
    over: bool = False
    """The valley has been left for good."""
    segment: MeanOfWeights = field(default_factory=MeanOfWeights)
    valley: MeanOfWeights = field(default_factory=MeanOfWeights)
    waiting: list[Segment] = field(default_factory=list[Segment])
    """Before the valley: the last few segments; in it: those since the last one below the threshold."""

    def step(self, weights: Mapping[str, Tensor]) -> None:
        """The weights after one more training step."""
        if not self.over:
            self.segment.add(weights)

    def evaluated(self, loss: float) -> None:
        """The validation loss of the weights after the last step."""
        if self.over or not self.segment.count:
            return
        self.waiting.append(Segment(self.segment.mean, loss))
        self.segment = MeanOfWeights()
        if self.threshold is None:
            self._look_for_the_valley()
        else:
            self._go_on()

    def _look_for_the_valley(self) -> None:
        self.waiting = self.waiting[-max(self.tolerance, self.converge) :]
        last = self.waiting[-self.converge :]
        losses = [s.loss for s in last]
        if len(last) < self.converge or min(losses) < losses[0]:
            return
        self.threshold = sum(losses) / len(losses) * (1 + self.ratio)
        reach = max(self.tolerance - self.converge, 0)
        for segment in self.waiting[: -self.converge][::-1][:reach]:
            if segment.loss > self.threshold:
                break
            last.insert(0, segment)
        self.waiting = []
        for segment in last:
            self.waiting.append(segment)
            self._go_on()

    def _go_on(self) -> None:
        if self.waiting[-1].loss <= (self.threshold or 0.0):
            for segment in self.waiting:
                self.valley.add(segment.weights)
            self.waiting = []
        elif len(self.waiting) >= self.tolerance:
            self.over = True

    def weights(self) -> Weights:
        """The mean over the valley; where none was found, the last segment."""
        if self.threshold is not None:
            return self.valley.mean
        return self.waiting[-1].weights if self.waiting else self.segment.mean

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {
            "threshold": self.threshold,
            "over": self.over,
            "segment": self.segment.state(),
            "valley": self.valley.state(),
            "waiting": [{"weights": s.weights, "loss": s.loss} for s in self.waiting],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.threshold, self.over = state["threshold"], state["over"]
        self.segment, self.valley = MeanOfWeights(**state["segment"]), MeanOfWeights(**state["valley"])
        self.waiting = [Segment(**s) for s in state["waiting"]]
