"""The student of domain generalisation: its data, its networks, its weights. `gen.smos.training` trains it."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.provenance import fingerprint_file
from gen.smd.dataset import DRAWING
from gen.smos.algorithms import registry
from gen.smos.algorithms.base import Algorithm, Batch
from gen.smos.augment import augment
from gen.smos.backbones import Classifier, Features, Prediction, load_backbone
from gen.smos.classifiers import PRECURSOR_WEIGHTS, fingerprint, load_classifier
from gen.smos.datasets import draw
from gen.smos.parts import Part, read_parts
from gen.smos.scenes import SceneStream
from gen.smos.settings import SMOSSettings
from gen.smos.swad import Weights
from gen.tensors import on_device
from gen.training.data_record import ALGORITHM, START
from gen.training.loop import Trainer
from gen.training.optimizers import adam
from gen.training.own_code import code_of


class StudentTrainer(Trainer[SMOSSettings]):
    """What a step is made of: data, the student, the reference, the algorithm with its networks."""

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

    def data_record(self) -> dict[str, Any]:
        """The domains with their counts, the classes, and the fingerprint of the precursor's weights."""
        return {**self.record, "classes": list(self.classes)}

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
    def uses_swad(self) -> bool:
        """Only with a target: a precursor is used as it is at the last step."""
        return self.settings.swad and self.target is not None

    def learning_rate(self, name: str, progress: float) -> float:
        """The schedule's, times the algorithm's factor for this network."""
        return super().learning_rate(name, progress) * self.algorithm.lr_factors.get(name, 1.0)

    def make_optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """Adam with the settings' weight decay, or what the algorithm makes of it.

        The other networks have it too, as in MIRO's and SMOS's code, whose variances are in the student's optimiser.
        """
        s = self.settings
        return self.algorithm.optimizer(name, adam(network, s.lr, self.betas, s.weight_decay))

    # Forward.

    def _forward(self, images: Tensor) -> Prediction:
        """The student in training."""
        return Prediction(*self.wrapped["student"](images))

    def _forward_reference(self, images: Tensor) -> Features:
        assert self.reference is not None
        # Autocast by hand: unlike the student, the reference is not wrapped by accelerate.
        with torch.no_grad(), self.accelerator.autocast():
            return self.reference(images)

    def gather(self, values: Tensor) -> Tensor:
        """(...) of each process -> (processes, ...); the shape must be the same in all."""
        if self.accelerator.num_processes == 1:
            return values[None]
        return cast(Tensor, self.accelerator.gather(values[None].contiguous()))

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
