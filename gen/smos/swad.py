"""SWAD (Cha et al. 2021, arXiv 2102.08604): the mean of the weights of all steps in the valley of the validation loss.

The steps between two evaluations form a segment, and their weights are averaged.
Start: the valley starts when the oldest of the last `converge` evaluations has the lowest loss of them. The threshold
is the mean of these losses times 1 + `ratio`. The valley is extended back over up to `tolerance` - `converge` earlier
evaluations, as long as their loss is at most the threshold.
End: before `tolerance` evaluations in a row above the threshold; then training may stop.
Result: the mean of the valley's segments, equally weighted.

This is `LossValley`. `PublishedLossValley` counts segments as the published code does, which stops at the same
evaluations. It extends back by one evaluation less, and counts the segment at the start of the valley twice if the one
before it belongs to the valley. If the valley starts within the first `tolerance` - `converge` evaluations, it counts
the next segments twice as well, and the very first one that many times; if training ends soon after the start,
segments before the start may be counted twice, or once although they are above the threshold.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Weights = dict[str, Tensor]
log = logging.getLogger(__name__)


@dataclass
class MeanOfWeights:
    """Running mean of sets of weights, in the memory of one set."""

    count: int = 0
    mean: Weights = field(default_factory=dict[str, Tensor])

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Add one set. Floating-point values are averaged; of others, such as step counts, the last is kept."""
        self.count += 1
        averaged = [name for name, value in weights.items() if self.count > 1 and value.is_floating_point()]
        if averaged:  # all in one call
            means, values = ([of[name].detach() for name in averaged] for of in (self.mean, weights))
            torch._foreach_lerp_(means, values, 1 / self.count)  # pyright: ignore[reportPrivateUsage]
        self.mean |= {name: weights[name].detach().clone() for name in weights.keys() - set(averaged)}

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
    """SWAD during training. Call `step` after each training step, and `evaluated` after each evaluation."""

    converge: int = 3
    tolerance: int = 6
    ratio: float = 0.3
    threshold: float | None = None
    """Losses up to this belong to the valley; None: the valley has not started."""
    over: bool = False
    """The valley has ended."""
    segment: MeanOfWeights = field(default_factory=MeanOfWeights)
    valley: MeanOfWeights = field(default_factory=MeanOfWeights)
    waiting: list[Segment] = field(default_factory=list[Segment])
    """Before the valley: the last few segments. In it: those since the last one below the threshold, which belong to
    the valley only if the loss falls below it again."""

    def step(self, weights: Mapping[str, Tensor]) -> None:
        """Record the weights after a training step."""
        if not self.over:
            self.segment.add(weights)

    def evaluated(self, loss: float) -> None:
        """Record the validation loss of the weights after the last step."""
        if self.over or not self.segment.count:
            return
        self.waiting.append(Segment(self.segment.mean, loss))
        self.segment = MeanOfWeights()
        if self.threshold is None:
            self._look_for_start()
        else:
            self._extend()

    def _look_for_start(self) -> None:
        self.waiting = self.waiting[-max(self.tolerance, self.converge) :]
        last = self.waiting[-self.converge :]
        losses = [s.loss for s in last]
        if len(last) < self.converge or min(losses) < losses[0]:
            return
        mean = max(sum(losses) / len(losses), min(losses))  # rounding may take it below equal losses
        self.threshold = mean * (1 + self.ratio)
        reach = max(self.tolerance - self.converge, 0)
        for segment in self.waiting[: -self.converge][::-1][:reach]:
            if segment.loss > self.threshold:
                break
            last.insert(0, segment)
        self.waiting = []
        # Replay: the start may itself hold losses above the threshold.
        for segment in last:
            self.waiting.append(segment)
            self._extend()

    def _extend(self) -> None:
        if self.waiting[-1].loss <= (self.threshold or 0.0):
            for segment in self.waiting:
                self.valley.add(segment.weights)
            self.waiting = []
        elif len(self.waiting) >= self.tolerance:
            self.over = True

    def weights(self) -> Weights:
        """The mean over the valley; if it never started, the last segment, as in the published code."""
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
        """Restore what `state` returned."""
        self.threshold, self.over = state["threshold"], state["over"]
        self.segment, self.valley = MeanOfWeights(**state["segment"]), MeanOfWeights(**state["valley"])
        self.waiting = [Segment(**s) for s in state["waiting"]]


@dataclass
class PublishedLossValley(LossValley):
    """The same with the published code's count of segments, also where that looks like an oversight.

    `waiting` holds the last evaluations, up to the longer of `converge` and `tolerance`, as long as training goes on.
    """

    evaluations: int = 0
    """So far."""
    start: int = 0
    """Number of the evaluation, from 1, at which the valley starts."""

    def evaluated(self, loss: float) -> None:
        """Record the validation loss of the weights after the last step."""
        if self.over or not self.segment.count:
            return
        self.evaluations += 1
        self.waiting.append(Segment(self.segment.mean, loss))
        self.waiting = self.waiting[-max(self.converge, self.tolerance) :]
        self.segment = MeanOfWeights()
        if self.threshold is None:
            self._look_for_start()
        else:
            self._extend()

    def _look_for_start(self) -> None:
        last = self.waiting[-self.converge :]
        losses = [s.loss for s in last]
        if len(last) < self.converge or min(losses) < losses[0]:
            return
        self.start = self.evaluations - self.converge + 1
        self.threshold = sum(losses) / len(losses) * (1 + self.ratio)
        # Counted 0 times: these weights are the result only until the first segment is added.
        self.valley = MeanOfWeights(0, dict(last[0].weights))
        for segment in self._joined(last):
            self.valley.add(segment.weights)

    def _joined(self, last: list[Segment]) -> list[Segment]:
        """The segments that are added when the valley starts; `last`: those of the last `converge` evaluations."""
        reach = self.tolerance - self.converge
        if reach < 0:
            return last[1 : 1 - reach]
        # The first of these, not the last, if there have been fewer than `tolerance` evaluations.
        oldest = self.waiting[: reach + 1] if reach else []
        above = [n for n, segment in enumerate(oldest) if segment.loss > (self.threshold or 0.0)]
        return oldest[above[-1] + 2 if above else 1 :]

    def _extend(self) -> None:
        recent = self.waiting[-self.tolerance :]
        if self.evaluations - len(recent) + 1 < self.start:
            return
        if self._all_above(recent):
            self.over = True
        else:
            self.valley.add(recent[0].weights)

    def _all_above(self, segments: list[Segment]) -> bool:
        return min(s.loss for s in segments) > (self.threshold or 0.0)

    def weights(self) -> Weights:
        """The mean over the valley; if it never started, the last segment."""
        if self.threshold is None or self.over:
            return super().weights()
        mean = MeanOfWeights(self.valley.count, {name: value.clone() for name, value in self.valley.mean.items()})
        rest = self.waiting[-self.tolerance :][1:]
        while rest and not self._all_above(rest):
            mean.add(rest.pop(0).weights)
        return mean.mean

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {**super().state(), "evaluations": self.evaluations, "start": self.start}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""
        super().load_state(state)
        self.evaluations, self.start = state["evaluations"], state["start"]


VALLEYS: dict[Literal["paper", "published"], type[LossValley]] = {"paper": LossValley, "published": PublishedLossValley}
"""By the setting `swad_segment`."""


def tell_of_few_measurements(steps: int, every: int) -> None:
    """Warn if a run of so many steps, evaluated after the first, every `every` and the last, cannot end a valley."""
    count, needed = len({*range(1, steps + 1, every), steps}), LossValley.tolerance
    if count < needed:
        log.warning(
            "swad: %d measurements in %d steps; below %d no valley can end, and the result is the mean of almost all "
            "steps; set evaluate_every lower, or swad=false", count, steps, needed,
        )  # fmt: skip
