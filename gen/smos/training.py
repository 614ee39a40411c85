"""Train a classifier on several domains, by any algorithm of `gen.smos.algorithms`, and measure each domain apart.

With a target the run is one cell of a leave-one-domain-out table. Without a target it learns from all domains, which
is how a precursor is made.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.provenance import fingerprint_file
from gen.smd.dataset import DRAWING
from gen.smos.algorithms import registry
from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.augment import augment
from gen.smos.backbones import Classifier, Features, Prediction, load_backbone, statistics_kept
from gen.smos.classifiers import PRECURSOR_WEIGHTS, fingerprint, load_classifier
from gen.smos.datasets import draw
from gen.smos.joint import Whole, outputs, surrogate
from gen.smos.joint import backward as joint_backward
from gen.smos.parts import Part, read_parts
from gen.smos.scenes import SceneStream
from gen.smos.settings import SMOSSettings
from gen.smos.swad import VALLEYS, Weights, tell_of_few_measurements
from gen.tensors import on_device
from gen.training.data_record import ALGORITHM, START
from gen.training.loop import Trainer
from gen.training.optimizers import adam
from gen.training.own_code import code_of

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


class TrainerStep:
    """One optimiser step on `parts` (accumulation parts of sample numbers); see `gen.smos.algorithms.base.Step`."""

    def __init__(self, trainer: "SMOSTrainer", parts: Sequence[Sequence[int]]) -> None:
        self.trainer, self.parts = trainer, parts
        # Drawn once: a second pass must see the same images, and rendered scenes come from a stream.
        self._batches: dict[int, Batch] = {}

    @property
    def number(self) -> int:
        """Steps done before this one."""
        return self.trainer.steps_done

    @property
    def domains(self) -> int:
        """Number of source domains."""
        return self.trainer.algorithm.domains

    @property
    def share(self) -> float:
        """Share of the run that is done."""
        return self.trainer.share_done

    def backward(self, domain: int | None = None, terms: Callable[[Batch], Terms] | None = None) -> Terms:
        """Forward and backward of all parts; replaces the gradients and returns the means of the detached terms."""
        t, losses = self.trainer, list[Terms]()
        for optimizer in t.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        joint = terms is None and type(t.algorithm).joint_terms is not Algorithm.joint_terms
        split = joint and (len(self.parts) > 1 or t.accelerator.num_processes > 1)
        whole, gradients = self._whole(domain) if split else (Terms(), [])
        for number in range(len(self.parts)):
            batch = self._seeded(number, domain)
            with t.synchronised("student", number):
                values = (terms or t.algorithm.terms)(batch)
                if split:
                    share = 1 / (len(self.parts) * t.accelerator.num_processes)
                    t.backward({**values, "joint": surrogate(batch, gradients[number], share)})
                else:
                    values |= t.algorithm.joint_terms(batch) if joint else {}
                    t.backward(values)
            losses.append({k: v.detach() for k, v in values.items()})
        for name in t.raw:
            if name != "student":  # these run without the wrapper that exchanges gradients between processes
                t.average_gradients(name)
        return {k: torch.stack([found[k] for found in losses]).mean() for k in losses[0]} | whole

    def _whole(self, domain: int | None) -> tuple[Terms, list[list[Tensor]]]:
        """The joint terms of the whole step, and their gradients with respect to the outputs of each own part."""
        t = self.trainer
        with torch.no_grad(), statistics_kept(t.student):
            parts = [outputs(self._seeded(number, domain)) for number in range(len(self.parts))]
        whole = Whole(parts, self._batch(0, domain), t.accelerator.process_index, t.gather)
        return joint_backward(t.algorithm.joint_terms(whole.batch)), whole.gradients()

    def _seeded(self, number: int, domain: int | None) -> Batch:
        """A part, with dropout seeded by its samples, so that a resumed run is the same run.

        Domains get masks of their own.
        """
        key = (self.trainer.settings.seed, self.parts[number][0], 3, *(() if domain is None else (domain,)))
        batch = self._batch(number, domain)
        torch.manual_seed(int(np.random.default_rng(key).integers(2**63)))
        return batch

    def class_means(self) -> tuple[Tensor, Tensor]:
        """See `gen.smos.algorithms.base.Step`."""
        return self.trainer.class_means()

    def update(self) -> None:
        """All optimisers step."""
        for optimizer in self.trainer.optimizers.values():
            optimizer.step()

    def _batch(self, number: int, domain: int | None) -> Batch:
        if number not in self._batches:
            self._batches[number] = self.trainer.algorithm.prepare(self.trainer.batch(self.parts[number]))
        # A copy without cached predictions: in a second pass the weights may be others.
        whole = replace(self._batches[number])
        return whole if domain is None else whole.of_domain(domain)


class SMOSTrainer(Trainer[SMOSSettings]):
    """Trains the student, and whatever networks its algorithm adds."""

    betas = (0.9, 0.999)
    settings_class = SMOSSettings

    def __init__(self, settings: SMOSSettings) -> None:
        super().__init__(settings)
        s = settings
        algorithm = registry.find(s.algorithm)
        self._check_settings(algorithm)
        self.stream: SceneStream | None = None
        self.train_parts: list[Part] = []
        self.validation: list[Part] = []
        self.target: Part | None = None
        self.target_held_out: Part | None = None
        if str(s.data) == "scenes":
            self._render()
        else:
            self._read()
        self.student = Classifier(s.backbone, self.classes, s.size, s.dropout, s.frozen_norms)
        self.student.body.load_state_dict(load_backbone(s.backbone, s.weights).state_dict())
        if Path(s.weights).is_file():
            self.record[START] = fingerprint_file(Path(s.weights))
        if code := code_of(algorithm):
            self.record[ALGORITHM] = code
        self.reference = self._load_reference(algorithm)
        domains = len(self.stream.styles) if self.stream else len(self.train_parts)
        self.algorithm: Algorithm[Any] = algorithm(algorithm.read_options(s), self.student, domains)
        self.setup({"student": self.student, **self.algorithm.networks()})  # no EMA: SWAD has its own average
        self.student.train()
        self.valley = VALLEYS[s.swad_segment](ratio=s.swad_ratio)
        if self.uses_swad and s.core_minutes is None:
            tell_of_few_measurements(self._after_warm_up(s.steps), s.evaluate_every)
        self._warming_up = False
        """Whether the last step was one of the algorithm's warm-up."""
        self.best = {VALIDATION: Best(), ORACLE: Best()}
        self.history: list[dict[str, float]] = []
        self._timed: tuple[float, int] = 0.0, 0
        """Seconds of the steps that were timed, and their number."""

    def _check_settings(self, algorithm: type[Algorithm[Any]]) -> None:
        s = self.settings
        needed = algorithm.reference == "precursor"
        if needed and s.precursor is None:
            raise BadSetting(f"algorithm {s.algorithm}: it needs a precursor; set precursor to a folder or a name.")
        if s.precursor is not None and not needed:
            raise BadSetting(f"algorithm {s.algorithm}: it uses no precursor; leave the setting precursor out.")
        if s.swad and s.target is not None and not s.frozen_norms:
            # The mean of weights does not have the mean of running statistics.
            raise BadSetting("swad: weights cannot be averaged if batch norms are trained; set swad=false.")

    # Data.

    def _render(self) -> None:
        s = self.settings
        if s.target is not None or s.val is not None:
            raise BadSetting("data=scenes: no domain can be left out or measured; leave target and val out.")
        self.stream = SceneStream(s.size, s.seed, s.workers, self.accelerator.num_processes)
        self.name, self.classes = "scenes", self.stream.classes
        self.record: dict[str, Any] = {"styles": list(self.stream.styles), "drawing": DRAWING}

    def _read(self) -> None:
        parts = read_parts(self.settings)
        self.name, self.classes, self.record = parts.dataset, parts.classes, parts.record
        self.train_parts = [part.on(self.device) for part in parts.train]
        self.validation = parts.validation
        self.target, self.target_held_out = parts.target, parts.target_held_out

    def _load_reference(self, algorithm: type[Algorithm[Any]]) -> nn.Module | None:
        """The frozen network that the algorithm compares the student with."""
        s = self.settings
        if algorithm.reference == "none":
            return None
        if s.precursor is None:
            # A student from random weights is still compared with ImageNet's: random features are no reference.
            body = load_backbone(s.backbone, s.weights if s.weights != "none" else "imagenet")
        else:
            precursor = load_classifier(s.precursor)
            body, self.record[PRECURSOR_WEIGHTS] = precursor.body, fingerprint(precursor)
        if (body.channels, body.width) != (self.student.body.channels, self.student.body.width):
            raise BadSetting(f"precursor {s.precursor}: its network is not the backbone {s.backbone}.")
        # Evaluation mode and no gradients: the reference must not move with the student.
        return body.requires_grad_(False).eval().to(self.device, memory_format=self.layout)  # pyright: ignore[reportCallIssue]

    # What the loop asks for.

    @property
    def total_images(self) -> int:
        """Images of each domain."""
        return self.settings.steps * self.settings.batch

    @property
    def steps_done(self) -> int:
        """Optimiser steps so far."""
        return self.images_shown // self.settings.batch

    @property
    def finished(self) -> bool:
        """All steps are done, or SWAD's valley has ended."""
        return super().finished or (self.uses_swad and self.valley.over)

    @property
    def uses_swad(self) -> bool:
        """Only with a target: a precursor is used as it is at the last step."""
        return self.settings.swad and self.target is not None

    @property
    def rule(self) -> str:
        """The rule that selects the weights to keep."""
        if self.uses_swad:
            return SWAD
        return LAST if self.target is None or self.settings.val else VALIDATION

    def learning_rate(self, name: str, progress: float) -> float:
        """The schedule's, times the algorithm's factor for this network."""
        return super().learning_rate(name, progress) * self.algorithm.lr_factors.get(name, 1.0)

    def make_optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """Adam with the settings' weight decay, or what the algorithm makes of it.

        The other networks have it too, as in MIRO's and SMOS's code, whose variances are in the student's optimiser.
        """
        s = self.settings
        return self.algorithm.optimizer(name, adam(network, s.lr, self.betas, s.weight_decay))

    def check_losses(self, images: int, losses: Mapping[str, float]) -> None:
        """Also raises for a loss beyond `DIVERGED`."""
        super().check_losses(images, losses)
        for name, value in losses.items():
            if abs(value) > DIVERGED:
                raise self.diverged(name, value, images)

    def data_record(self) -> dict[str, Any]:
        """The domains with their counts, the classes, and the fingerprint of the precursor's weights."""
        return {**self.record, "classes": list(self.classes)}

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

    def batch(self, samples: Sequence[int]) -> Batch:
        """Augmented images of all sources, these samples of each."""
        seed = self.settings.seed
        if self.stream:
            images, labels = self.stream.batch(samples)
        else:
            drawn = [
                (part, [draw(part.indices, seed, part.index, n, self.settings.replacement) for n in samples])
                for part in self.train_parts
            ]
            images = torch.cat([on_device(part.domain.images(indices), self.device) for part, indices in drawn])
            labels = torch.from_numpy(np.concatenate([part.domain.labels[indices] for part, indices in drawn]))
        keys = [(seed, domain, n, 2) for domain in range(len(images) // len(samples)) for n in samples]
        images = augment(on_device(images, self.device).float() / 255, keys)
        images, labels = images.contiguous(memory_format=self.layout), on_device(labels, self.device)
        reference = self._forward_reference if self.reference else None
        return Batch(images, labels, self.algorithm.domains, self._forward, reference, self.steps_done, seed)

    def gather(self, values: Tensor) -> Tensor:
        """(...) of each process -> (processes, ...); the shape must be the same in all."""
        if self.accelerator.num_processes == 1:
            return values[None]
        return cast(Tensor, self.accelerator.gather(values[None].contiguous()))

    def _forward(self, images: Tensor) -> Prediction:
        """The student in training."""
        return Prediction(*self.wrapped["student"](images))

    def _forward_reference(self, images: Tensor) -> Features:
        assert self.reference is not None
        # Autocast by hand: unlike the student, the reference is not wrapped by accelerate.
        with torch.no_grad(), self.accelerator.autocast():
            return self.reference(images)

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

    # Weights that are selected: the student's, and those of networks that the algorithm predicts with.

    def weights(self) -> Weights:
        """The current weights; those of other networks than the student under NETWORK/NAME."""
        weights: Weights = dict(self.algorithm.plain_weights())
        for network in self.algorithm.predicts_with:
            weights |= {f"{network}/{name}": value for name, value in self.raw[network].state_dict().items()}
        return weights

    def load_weights(self, weights: Weights) -> None:
        """Load what `weights` returned."""
        self.algorithm.load_plain_weights({k: v for k, v in weights.items() if "/" not in k})
        for network in self.algorithm.predicts_with:
            prefix = f"{network}/"
            own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
            self.raw[network].load_state_dict(own)

    @contextmanager
    def using(self, weights: Weights):
        """Within the block the networks have these weights."""
        names = ("student", *self.algorithm.predicts_with)
        own = {n: {k: v.detach().clone() for k, v in self.raw[n].state_dict().items()} for n in names}
        self.load_weights(weights)
        try:
            yield
        finally:
            for name, state in own.items():
                self.raw[name].load_state_dict(state)

    def classifier(self) -> Classifier:
        """The student as it is, as a plain classifier, to be saved."""
        plain = Classifier(**{k: v for k, v in self.student.config.items() if not k.startswith("_")})
        plain.load_state_dict(dict(self.algorithm.plain_weights()))
        return plain

    def save_beside(self, folder: Path) -> None:
        """Write the networks that the algorithm predicts with, beside the classifier: NETWORK.safetensors."""
        for name in (*self.algorithm.predicts_with, *self.algorithm.saved_with):
            with write_atomically(folder / f"{name}.safetensors") as partial:
                save_file({k: v.contiguous() for k, v in self.raw[name].state_dict().items()}, partial)

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

    @torch.no_grad()
    def class_means(self, batch: int = 32) -> tuple[Tensor, Tensor]:
        """See `gen.smos.algorithms.base.Step`; the processes share the images."""
        if self.stream:
            raise BadSetting(f"data=scenes: algorithm {self.settings.algorithm} needs a folder of images.")
        self.student.eval()
        shape = (len(self.train_parts), len(self.classes))
        sums = torch.zeros(*shape, self.student.body.width, device=self.device)
        counted = [np.bincount(p.domain.labels[p.indices], minlength=shape[1]) for p in self.train_parts]
        counts = on_device(np.stack(counted), self.device, torch.float32)
        for domain, part in enumerate(self.train_parts):
            batches = np.array_split(part.indices, -(-len(part.indices) // batch))
            for some in batches[self.accelerator.process_index :: self.accelerator.num_processes]:
                images = on_device(part.domain.images(some), self.device).float() / 255
                with self.eagerly(), self.accelerator.autocast():
                    pooled = self.student.body(images.contiguous(memory_format=self.layout)).pooled.float()
                sums[domain].index_add_(0, on_device(part.domain.labels[some], self.device), pooled)
        self.student.train()
        sums = self.mean_over_processes(sums) * self.accelerator.num_processes
        return sums / counts.clamp(min=1)[..., None], counts

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
