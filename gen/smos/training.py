"""Train a classifier on several domains, grounded in a frozen precursor or not, and watch the domains apart.

With a target the run is one cell of a leave-one-domain-out table; without one it learns from all domains, which is
how a precursor is made.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam
from torchvision.utils import make_grid

from gen.errors import BadInput, BadSetting, TrainingDiverged
from gen.media.files import write_atomically
from gen.media.resize import to_uint8
from gen.smd.dataset import DRAWING
from gen.smos import losses
from gen.smos.augment import augment
from gen.smos.backbones import Classifier, Prediction, load_backbone
from gen.smos.datasets import Domain, draw, load_domains, split_domain
from gen.smos.export import PRECURSOR_WEIGHTS, fingerprint, load_classifier
from gen.smos.scenes import SceneStream
from gen.smos.swad import LossValley, Weights
from gen.training.loop import Trainer
from gen.training.settings import Positive, PositiveFloat, TrainerSettings

Algorithm = Literal["erm", "miro", "miro_precursor", "smos", "smos_kl", "smos_released"]
NEEDS_PRECURSOR = ("miro_precursor", "smos", "smos_kl", "smos_released")
DIVERGED = 1e4
"""A loss beyond this has no way back: the released term is not bounded."""

RESULTS = "results.json"


@dataclass(frozen=True, kw_only=True)
class SMOSSettings(TrainerSettings):
    """Training on several domains. Lengths are counted in steps, as in the field's protocol."""

    data: Path
    """Folder ROOT/DOMAIN/CLASS/IMAGE; `scenes` renders game scenes as they are needed, in four styles."""
    val: Path | None = None
    """Held-out pictures of the same domains: then all of `data` is trained on, and these are measured. Rendered
    scenes want it, because one level looks alike in all styles."""
    dataset: Literal["auto", "any", "PACS", "VLCS", "OfficeHome", "TerraIncognita", "DomainNet"] = "auto"
    """Which data set it is, to check that it is whole; any: whatever lies there."""
    target: str | None = None
    """The domain that is left out and measured; none: learn from all."""
    algorithm: Algorithm = "erm"
    """erm: cross-entropy; miro: and L_MI to ImageNet weights; miro_precursor: L_MI to the precursor; smos: JS
    divergence and L_MI; smos_kl, smos_released: the published code's terms, which are no divergences."""
    backbone: str = "resnet50"
    """resnet18, resnet50, resnet101, efficientnet-lite0, vit, dinov2, clip or timm:MODEL."""
    weights: str = "imagenet"
    """What the backbone begins with: imagenet, none, or a file."""
    precursor: Path | None = None
    """Classifier to be grounded in: its folder, or a shipped one's name."""
    size: Annotated[int, Field(ge=32, le=1024)] = 224
    """Pixels a side."""

    batch: Positive = 16
    """Images of each domain in one step."""
    steps: Positive = 5001
    """Optimiser steps."""
    evaluate_every: Positive = 200
    """Steps between two evaluations on the sources' held-out fifths; the first is after step 1, as in DomainBed."""
    lr: PositiveFloat = 3e-5
    """Adam's learning rate; the variances of L_MI learn ten times as fast."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of the steps in which it falls linearly to zero; DomainBed: none."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Adam's."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Before the linear layer."""
    frozen_norms: bool = True
    """Batch norms keep their running statistics, and learn scale and shift."""
    replacement: bool = True
    """Images are drawn with replacement, as DomainBed does; false: epoch by epoch."""

    js_weight: Annotated[float, Field(ge=0)] = 1.0
    """Lambda: weight of the grounding term. The released code's own default, for smos_released, is 0.15."""
    temperature: PositiveFloat = 1.0
    """Of the softmax in the JS divergence."""
    mi_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of L_MI; none: miro_weight where it stands alone (miro, miro_precursor), else a tenth of js_weight."""
    miro_weight: Annotated[float, Field(ge=0)] = 0.01
    """Of L_MI where it stands alone."""

    swad: bool = True
    """Average the weights over the valley of the validation loss, and stop where it ends."""
    swad_ratio: Annotated[float, Field(ge=0)] = 0.3
    """How far above its start's loss the valley reaches."""
    cache: Path | None = None
    """Folder for decoded pictures; none: OUT/cache."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that render, for data=scenes."""

    log_every: Positive = 160
    """Images of a domain between two lines of metrics."""
    sample_every: Positive = 1_000_000
    """Images of a domain between two sheets of augmented pictures."""
    checkpoint_every: Positive = 3200
    """Images of a domain between two checkpoints."""

    may_change = TrainerSettings.may_change | {"cache", "workers"}

    @property
    def beta(self) -> float:
        """Weight of L_MI as it is used."""
        if self.algorithm == "erm":
            return 0.0
        if self.mi_weight is not None:
            return self.mi_weight
        return self.miro_weight if self.algorithm.startswith("miro") else self.js_weight / 10


@dataclass(frozen=True)
class Part:
    """Some images of a domain."""

    place: int
    """Number of the domain."""
    domain: Domain
    indices: NDArray[np.int64]


@dataclass
class Best:
    """The weights that a rule has selected so far."""

    score: float = -1.0
    step: int = 0
    weights: Weights | None = None


class SMOSTrainer(Trainer[SMOSSettings]):
    """Classifier, and the variances of L_MI where there is an oracle."""

    betas = (0.9, 0.999)

    def __init__(self, settings: SMOSSettings) -> None:
        super().__init__(settings)
        s = settings
        if (s.algorithm in NEEDS_PRECURSOR) != (s.precursor is not None):
            wants = (
                "needs a precursor; give precursor=DIR" if s.precursor is None else "uses no precursor; leave it out"
            )
            raise BadSetting(f"algorithm {s.algorithm}: it {wants}.")
        if s.images is not None:
            raise BadSetting("images: the length of this training is given in steps; set steps.")
        if s.swad and s.target is not None and not s.frozen_norms:
            raise BadSetting("swad: norms that learn their statistics cannot be averaged; set swad=false with them.")
        self.stream: SceneStream | None = None
        self.train_parts: list[Part] = []
        self.validation: list[Part] = []
        self.target: Part | None = None
        self.target_held_out: Part | None = None
        if str(s.data) == "scenes":
            self._render()
        else:
            self._read()
        self.student = student = Classifier(s.backbone, self.classes, s.size, s.dropout, s.frozen_norms)
        student.body.load_state_dict(load_backbone(s.backbone, s.weights).state_dict())
        networks: dict[str, nn.Module] = {"student": student}
        self.oracle: nn.Module | None = None
        if s.algorithm != "erm":
            self.oracle = self._load_oracle(student)
            networks["variances"] = losses.MutualInformationBound(student.body.channels)
        self.setup(networks, averaged="student")
        student.train()
        self.valley = LossValley(ratio=s.swad_ratio)
        self.best = {"training-domain validation": Best(), "oracle": Best()}
        self.history: list[dict[str, float]] = []

    def _render(self) -> None:
        s = self.settings
        if s.target is not None or s.val is not None:
            raise BadSetting("data=scenes: nothing of it can be left out or measured; leave target and val out.")
        self.stream = SceneStream(s.size, s.seed, s.workers, self.accelerator.num_processes)
        self.name, self.classes = "scenes", self.stream.classes
        self.record: dict[str, Any] = {"styles": list(self.stream.styles), "drawing": DRAWING}

    def _read(self) -> None:
        s = self.settings
        cache = s.cache or s.out / "cache"
        data = load_domains(s.data, s.size, cache, s.dataset, s.strict)
        held = load_domains(s.val, s.size, cache, s.dataset, s.strict) if s.val else None
        if held and (held.classes, held.names) != (data.classes, data.names):
            raise BadInput(f"{s.val}: its domains and classes are not those of {s.data}.")
        self.name, self.classes = data.name, data.classes
        self.record = {"domains": {d.name: len(d) for d in data.domains}}
        if left_out := {d.name: len(d.frames.left_out) for d in data.domains if d.frames.left_out}:
            self.record["left_out"] = left_out
        target = None if s.target is None else data.place(s.target)
        for place, domain in enumerate(data.domains):
            measured = held.domains[place] if held else domain
            if len(measured) < 5:
                folder = measured.frames.folder
                raise BadInput(
                    f"{folder}: {len(measured)} images are too few to hold a fifth of them back; 5 are needed."
                )
            split = split_domain(len(measured), s.seed, place)
            inner, outer = Part(place, measured, split.inner), Part(place, measured, split.outer)
            if place == target:
                self.target, self.target_held_out = inner, outer
            elif held:
                self.train_parts.append(Part(place, domain, np.arange(len(domain))))
                self.validation.append(Part(place, measured, np.arange(len(measured))))
            else:
                self.train_parts.append(inner)
                self.validation.append(outer)

    def _load_oracle(self, student: Classifier) -> nn.Module:
        s = self.settings
        own_file = s.weights if s.weights != "none" else "imagenet"
        if s.precursor is None:
            body = load_backbone(s.backbone, own_file)
        else:
            precursor = load_classifier(s.precursor)
            body, self.record[PRECURSOR_WEIGHTS] = precursor.body, fingerprint(precursor)
        if (body.channels, body.width) != (student.body.channels, student.body.width):
            raise BadSetting(f"precursor {s.precursor}: it is another network than the backbone {s.backbone}.")
        layout = torch.channels_last if s.channels_last else torch.contiguous_format
        return body.requires_grad_(False).eval().to(self.device, memory_format=layout)  # pyright: ignore[reportCallIssue]

    # What the loop asks for.

    @property
    def total_images(self) -> int:
        """Images of each domain."""
        return self.settings.steps * self.settings.batch

    @property
    def finished(self) -> bool:
        """All steps are done, or the valley has been left."""
        return super().finished or (self.uses_swad and self.valley.over)

    @property
    def uses_swad(self) -> bool:
        """A precursor is taken as it is at the last step."""
        return self.settings.swad and self.target is not None

    @property
    def rule(self) -> str:
        """By which the weights are chosen that are kept."""
        if self.uses_swad:
            return "SWAD"
        return "last step" if self.target is None or self.settings.val else "training-domain validation"

    def learning_rate(self, name: str, progress: float) -> float:
        """Ten times as much for the variances."""
        return super().learning_rate(name, progress) * (10 if name == "variances" else 1)

    def make_optimizer(self, name: str, network: nn.Module) -> Adam:
        """Adam with the weight decay of the settings."""
        decay = self.settings.weight_decay if name == "student" else 0.0
        return Adam(network.parameters(), lr=self.settings.lr, betas=self.betas, weight_decay=decay, fused=True)

    def ema_decay(self) -> float:
        """The loop's own average is not used: the valley has its own."""
        return 0.0

    def data_record(self) -> dict[str, Any]:
        """The domains with their counts, the classes, and which weights a precursor's name stood for."""
        return {**self.record, "classes": list(self.classes)}

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One step on these samples of each source."""
        told: list[dict[str, Tensor]] = []
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        for part, samples in enumerate(parts):
            # Dropout's draws belong to the samples, so that a resumed run is the same.
            torch.manual_seed(int(np.random.default_rng((self.settings.seed, samples[0], 3)).integers(2**63)))
            with self.synchronised("student", part):
                terms = self.terms(*self.batch(samples))
                self.backward(terms)
            told.append({k: v.detach() for k, v in terms.items()})
        if self.oracle:
            self.average_gradients("variances")
        for optimizer in self.optimizers.values():
            optimizer.step()
        means = {k: torch.stack([t[k] for t in told]).mean() for k in told[0]}
        return means

    def batch(self, samples: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Augmented images (domains x B, 3, H, W) in [0, 1] of all sources, and their labels."""
        seed = self.settings.seed
        if self.stream:
            images, labels = self.stream.batch(samples)
        else:
            chosen = [
                (part, [draw(part.indices, seed, part.place, n, self.settings.replacement) for n in samples])
                for part in self.train_parts
            ]
            images = torch.cat([part.domain.images(indices) for part, indices in chosen])
            labels = torch.from_numpy(np.concatenate([part.domain.labels[indices] for part, indices in chosen]))
        keys = [(seed, place, n, 2) for place in range(len(images) // len(samples)) for n in samples]
        images = images.to(self.device, non_blocking=True).float() / 255
        return augment(images, keys), labels.to(self.device)

    def terms(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The weighted terms of the loss."""
        s = self.settings
        if s.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        seen = Prediction(*self.wrapped["student"](images))
        terms = {"cross_entropy": F.cross_entropy(seen.logits.float(), labels)}
        if self.oracle:
            with torch.no_grad(), self.accelerator.autocast():
                u, maps = self.oracle(images)
            if s.algorithm.startswith("smos") and s.js_weight:
                grounding = {
                    "smos": lambda: losses.grounding_js(u, seen.pooled, s.temperature),
                    "smos_kl": lambda: losses.released_kl(u, seen.pooled),
                    "smos_released": lambda: losses.released_js(u, seen.pooled),
                }[s.algorithm]
                terms["grounding"] = s.js_weight * grounding()
            if s.beta:
                terms["mutual_information"] = s.beta * self.raw["variances"](seen.maps, maps)
        return terms

    def _flush(self) -> None:
        if self._losses:  # of all processes at once: if one of them raised alone, the others would wait for ever
            largest = self.mean_over_processes(torch.stack([v.abs().max() for _, _, v in self._losses]))
            for (images, _, values), size in zip(self._losses, largest.tolist(), strict=True):
                if size > DIVERGED:
                    raise TrainingDiverged(self._divergence("of the sum", float(values.sum()), images))
        super()._flush()

    def after_step(self) -> None:
        """Every step counts for the valley; some are measured."""
        s = self.settings
        steps = self.images_shown // s.batch
        if self.uses_swad:
            self.valley.step(self.weights())
        if (steps - 1) % s.evaluate_every == 0 or steps == s.steps:
            self.evaluate(steps)

    # Measuring.

    def weights(self) -> Weights:
        """The student's, as they are now."""
        return self.student.state_dict()

    def evaluate(self, steps: int) -> None:
        """Accuracy and loss on the held-out fifths, then what each rule makes of them."""
        if not self.validation:
            return
        measured = [self.measure_on(part) for part in self.validation]
        accuracy, loss = (float(np.mean(column)) for column in zip(*measured, strict=True))
        line = {"step": steps, "validation accuracy": accuracy, "validation loss": loss}
        if self.target_held_out:
            line["target accuracy"] = self.measure_on(self.target_held_out)[0]
            self._select("oracle", line["target accuracy"], steps)
        self._select("training-domain validation", accuracy, steps)
        self.history.append(line)
        if self.log:
            self.log.metrics(self.images_shown, {k: v for k, v in line.items() if k != "step"})
        if self.uses_swad:
            self.valley.evaluated(loss)

    def _select(self, rule: str, score: float, steps: int) -> None:
        if score > self.best[rule].score:
            self.best[rule] = Best(score, steps, {k: v.detach().clone() for k, v in self.weights().items()})

    @torch.no_grad()
    def measure_on(self, part: Part, batch: int = 32) -> tuple[float, float]:
        """Accuracy (0..1) and cross-entropy (nats) of the student on these images."""
        student, domain = self.student.eval(), part.domain
        sums = torch.zeros(3, device=self.device, dtype=torch.float64)
        batches = np.array_split(part.indices, -(-len(part.indices) // batch))
        for some in batches[self.accelerator.process_index :: self.accelerator.num_processes]:
            images = domain.images(some).to(self.device).float() / 255
            labels = torch.from_numpy(domain.labels[some]).to(self.device)
            with self.accelerator.autocast():
                logits = student(images.contiguous(memory_format=torch.channels_last)).logits.float()
            loss = F.cross_entropy(logits, labels, reduction="sum")
            sums += torch.stack([(logits.argmax(1) == labels).sum(), loss, loss.new_tensor(len(some))]).double()
        student.train()
        right, loss, count = (self.mean_over_processes(sums)).tolist()
        return right / count, loss / count

    @contextmanager
    def using(self, weights: Weights):
        """Within the block the student has these weights."""
        own = {k: v.detach().clone() for k, v in self.weights().items()}
        self.student.load_state_dict(weights)
        try:
            yield
        finally:
            self.student.load_state_dict(own)

    def selected(self) -> dict[str, tuple[int | None, Weights]]:
        """Step and weights by selection rule; the mean over a valley has no step."""
        chosen: dict[str, tuple[int | None, Weights]] = {}
        if self.uses_swad:
            chosen["SWAD"] = (None, self.valley.weights())
        for rule, best in self.best.items():
            if best.weights is not None:
                chosen[rule] = (best.step, best.weights)
        chosen["last step"] = (self.images_shown // self.settings.batch, self.weights())
        return chosen

    def report(self) -> dict[str, Any]:
        """Accuracy on the target's inner four fifths by selection rule, and the way there; also in results.json."""
        s = self.settings
        rules: dict[str, dict[str, float | int | None]] = {}
        for rule, (step, weights) in self.selected().items():
            rules[rule] = {"step": step}
            if self.target is not None:
                with self.using(weights):
                    rules[rule]["accuracy"] = self.measure_on(self.target)[0]
        name = None if self.target is None else self.target.domain.name
        told = {
            "dataset": self.name,
            "target": name,
            "algorithm": s.algorithm,
            "seed": s.seed,
            "rules": rules,
            "model": self.rule,
            "steps": self.images_shown // s.batch,
            "seconds": round(self.seconds, 1),
            "history": self.history,
        }
        if self.accelerator.is_main_process:
            with write_atomically(s.out / RESULTS) as partial:
                partial.write_text(json.dumps(told, indent=2))
        return told

    def sample_grid(self) -> NDArray[np.uint8]:
        """Augmented pictures, a row for each source."""
        images, _ = self.batch(list(range(min(8, self.settings.batch))))
        grid = make_grid(images * 2 - 1, nrow=min(8, self.settings.batch), padding=2, pad_value=1.0)
        return to_uint8(grid[None])[0].permute(1, 2, 0).cpu().numpy()

    # State.

    def extra_state(self) -> dict[str, Any]:
        """The valley, what rules have selected, and the way there."""
        return {
            "valley": self.valley.state(),
            "best": {k: vars(v) for k, v in self.best.items()},
            "history": self.history,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave."""
        self.valley.load_state(state["valley"])
        self.best = {k: Best(**v) for k, v in state["best"].items()}
        self.history = list(state["history"])
