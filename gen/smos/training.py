"""Train a classifier on several domains, by any algorithm of `gen.smos.algorithms`, and measure each domain apart.

With a target the run is one cell of a leave-one-domain-out table. Without a target it learns from all domains, which
is how a precursor is made.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.smos.algorithms.base import Terms
from gen.smos.parts import Part
from gen.smos.settings import SMOSSettings
from gen.smos.step import TrainerStep
from gen.smos.student import StudentTrainer
from gen.smos.swad import VALLEYS, Weights, tell_of_few_measurements

DIVERGED = 1e4
"""A loss beyond this does not come back: a term without a lower bound has run away."""

VALIDATION, ORACLE, SWAD, LAST = "training-domain validation", "oracle", "SWAD", "last step"
"""Rules that select weights, as results.json names them. The oracle looks at the target, so it is no fair choice."""

RESULTS = "results.json"

TIMED = 10
"""On a GPU, one step in so many is timed."""


@dataclass
class Best:
    """The weights that a rule has selected so far."""

    score: float = -1.0
    step: int = 0
    weights: Weights | None = None


class SMOSTrainer(StudentTrainer):
    """Trains the student, and whatever networks its algorithm adds; measures, and selects weights."""

    def __init__(self, settings: SMOSSettings) -> None:
        super().__init__(settings)
        s = settings
        self.valley = VALLEYS[s.swad_segment](ratio=s.swad_ratio)
        if self.uses_swad and s.core_minutes is None:
            tell_of_few_measurements(self._after_warm_up(s.steps), s.evaluate_every)
        self._warming_up = False
        """Whether the last step was one of the algorithm's warm-up."""
        self.best = {VALIDATION: Best(), ORACLE: Best()}
        self.history: list[dict[str, float]] = []
        self._timed: tuple[float, int] = 0.0, 0
        """Seconds of the steps that were timed, and their number."""

    # What the loop asks for.

    @property
    def finished(self) -> bool:
        """All steps are done, or SWAD's valley has ended."""
        return super().finished or (self.uses_swad and self.valley.over)

    @property
    def rule(self) -> str:
        """The rule that selects the weights to keep."""
        if self.uses_swad:
            return SWAD
        return LAST if self.target is None or self.settings.val else VALIDATION

    def check_losses(self, images: int, losses: Mapping[str, float]) -> None:
        """Also raises for a loss beyond `DIVERGED`."""
        super().check_losses(images, losses)
        for name, value in losses.items():
            if abs(value) > DIVERGED:
                raise self.diverged(name, value, images)

    # One step.

    def step(self, parts: Sequence[Sequence[int]]) -> Terms:
        """One step on these samples of each source."""
        gpu, number = self.device.type == "cuda", self.steps_done
        self._warming_up = self.share_done < self.algorithm.warm_up
        # Not the first, which warms up; and of a GPU few, because a clock must wait until it has done its work.
        if number % (TIMED if gpu else 1) or not number:
            return self.algorithm.step(TrainerStep(self, parts))
        start = self._step_clock()
        terms = self.algorithm.step(TrainerStep(self, parts))
        seconds, count = self._timed
        self._timed = seconds + self._step_clock() - start, count + 1
        return terms

    def _step_clock(self) -> float:
        """Seconds: of a GPU by the wall clock, else of processor time, which other programs do not lengthen."""
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    @property
    def step_seconds(self) -> float | None:
        """Seconds a step, without evaluations; None if too few were made to be timed."""
        seconds, count = self._timed
        return seconds / count if count else None

    def after_step(self) -> None:
        """SWAD averages the weights of every step; some steps are evaluated."""
        s = self.settings
        if self._warming_up:
            self._check_warm_up()
            return
        if self.uses_swad:
            self.valley.step(self.weights())
        if (self.steps_done - 1) % s.evaluate_every == 0 or self.share_done >= 1:
            self.evaluate(self.steps_done)

    def _after_warm_up(self, steps: int) -> int:
        """Of so many steps, those that are measured."""
        return steps - round(steps * self.algorithm.warm_up)

    def _check_warm_up(self) -> None:
        """Raises `BadSetting` if the run ends before its algorithm has begun: other weights would go by its name."""
        s = self.settings
        if self.share_done >= 1:
            raise BadSetting(
                f"{'steps' if s.core_minutes is None else 'core_minutes'}: the run ended after {self.steps_done} "
                f"steps, in the warm-up of {s.algorithm}; make it longer, or the option warm_up smaller."
            )

    # Measuring.

    def evaluate(self, steps: int) -> None:
        """Accuracy and loss on the held-out fifths, for the selection rules and SWAD."""
        if not self.validation:
            return
        measured = [self.measure_on(part) for part in self.validation]
        # The mean over domains, not over images: large domains must not decide alone.
        accuracy, loss = (float(np.mean(column)) for column in zip(*measured, strict=True))
        line = {"step": steps, "validation accuracy": accuracy, "validation loss": loss}
        if self.target_held_out:
            line["target accuracy"] = self.measure_on(self.target_held_out)[0]
            self._select(ORACLE, line["target accuracy"], steps)
        self._select(VALIDATION, accuracy, steps)
        self.history.append(line)
        if self.log:
            self.log.metrics(self.images_shown, {k: v for k, v in line.items() if k != "step"})
        if self.uses_swad:
            self.valley.evaluated(loss)

    def _select(self, rule: str, score: float, steps: int) -> None:
        if score > self.best[rule].score:  # not >=: the first of equals, as argmax takes it in DomainBed
            self.best[rule] = Best(score, steps, {k: v.detach().clone() for k, v in self.weights().items()})

    @torch.no_grad()
    def measure_on(self, part: Part, batch: int = 32) -> tuple[float, float]:
        """Accuracy (0..1) and cross-entropy (nats) on these images, by the algorithm's `predict`."""
        for network in self.raw.values():
            network.eval()
        sums = torch.zeros(3, device=self.device, dtype=torch.float64)
        batches = np.array_split(part.indices, -(-len(part.indices) // batch))
        # All processes adapt to the same images. Not within autocast, which would keep the weights from before.
        with self.eagerly(), self.algorithm.adapted(self._images(part, batches[0])):
            for some in batches[self.accelerator.process_index :: self.accelerator.num_processes]:
                images, labels = self._images(part, some), torch.from_numpy(part.domain.labels[some]).to(self.device)
                with self.accelerator.autocast():
                    logits = self.algorithm.predict(images).float()
                loss = F.cross_entropy(logits, labels, reduction="sum")
                sums += torch.stack([(logits.argmax(1) == labels).sum(), loss, loss.new_tensor(len(some))]).double()
        for network in self.raw.values():
            network.train()
        correct, loss, count = (self.mean_over_processes(sums)).tolist()
        return correct / count, loss / count

    def _images(self, part: Part, indices: NDArray[np.int64]) -> Tensor:
        """Images of a domain as `predict` takes them."""
        images = part.domain.images(indices).to(self.device).float() / 255
        return images.contiguous(memory_format=torch.channels_last)

    def selected(self) -> dict[str, tuple[int | None, Weights]]:
        """Step and weights by selection rule; SWAD's mean over a valley has no step."""
        selected: dict[str, tuple[int | None, Weights]] = {}
        if self.uses_swad:
            selected[SWAD] = (None, self.valley.weights())
        for rule, best in self.best.items():
            if best.weights is not None:
                selected[rule] = (best.step, best.weights)
        selected[LAST] = (self.steps_done, self.weights())
        return selected

    def report(self) -> dict[str, Any]:
        """Accuracy on four fifths of the target by selection rule, and the history; also written to results.json."""
        s = self.settings
        if self.uses_swad and s.core_minutes is not None:
            tell_of_few_measurements(self._after_warm_up(self.steps_done), s.evaluate_every)
        rules: dict[str, dict[str, float | int | None]] = {}
        for rule, (step, weights) in self.selected().items():
            rules[rule] = {"step": step}
            if self.target is not None:
                with self.using(weights):
                    rules[rule]["accuracy"] = self.measure_on(self.target)[0]
        results = {
            "dataset": self.name,
            "target": None if self.target is None else self.target.domain.name,
            "algorithm": s.algorithm,
            "seed": s.seed,
            "rules": rules,
            "model": self.rule,
            "steps": self.steps_done,
            "seconds": round(self.seconds, 1),
            "core_seconds": self.core_seconds,
            "step_seconds": self.step_seconds,
            "history": self.history,
        }
        if self.accelerator.is_main_process:
            with write_atomically(s.out / RESULTS) as partial:
                partial.write_text(json.dumps(results, indent=2))
        return results

    def sample_grid(self) -> NDArray[np.uint8]:
        """Augmented images, one row per source."""
        images = self.batch(list(range(min(8, self.settings.batch)))).images
        grid = make_grid(images * 2 - 1, nrow=min(8, self.settings.batch), padding=2, pad_value=1.0)
        return to_uint8(grid[None])[0].permute(1, 2, 0).cpu().numpy()

    # State.

    def extra_state(self) -> dict[str, Any]:
        """SWAD's valley, the selected weights, the history, and the algorithm's own state."""
        return {
            "valley": self.valley.state(),
            "best": {k: vars(v) for k, v in self.best.items()},
            "history": self.history,
            "timed": list(self._timed),
            "algorithm": self.algorithm.state(),
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        self.valley.load_state(state["valley"])
        self.best = {k: Best(**v) for k, v in state["best"].items()}
        self.history = list(state["history"])
        seconds, count = state.get("timed", (0.0, 0))  # older checkpoints have none
        self._timed = float(seconds), int(count)
        self.algorithm.load_state(state.get("algorithm", {}))  # older checkpoints have none
