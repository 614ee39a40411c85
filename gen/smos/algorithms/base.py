"""What an algorithm is to the trainer: options, loss terms, and hooks for those that need more than a loss.

An algorithm that is only a loss has `options_class`, `terms` and `describe`. The other members have defaults:

- `prepare`: change the images of a batch.
- `joint_terms`: terms that compare the images of a step with each other, such as a covariance of features.
- `networks`, `lr_factors`, `predicts_with`: networks beside the student, for example a head for each domain.
- `optimizer`: wrap or replace the Adam of a network.
- `step`: several passes in one step (SAM), or a look at the gradient of each domain.
- `predict`: what is done at test time. `adapted`: what is done before it with the first images of a domain.
- `warm_up`: for an algorithm that first trains something else, in the same run.
- `state`, `load_state`: what a checkpoint must hold beyond networks and optimisers.
- `plain_weights`, `load_plain_weights`: for a student that is trained in another form than it is used.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from gen.errors import BadSetting
from gen.smos.backbones import Classifier, Features, Prediction
from gen.smos.settings import SMOSSettings
from gen.training.settings import make_settings

Terms = dict[str, Tensor]
"""Weighted terms of a loss by name, scalars; the loss is their sum."""


@dataclass(frozen=True)
class NoOptions:
    """For algorithms without options."""


@dataclass(frozen=True)
class Batch:
    """Images of all sources, domain after domain, and the networks to run on them."""

    images: Tensor
    """(domains · B, 3, H, W) in [0, 1], augmented."""
    labels: Tensor
    """(domains · B,)."""
    domains: int
    """Number of domains in this batch; each has the same number of images."""
    forward: Callable[[Tensor], Prediction]
    """The student in training: use this in `terms`, because it also exchanges gradients between processes."""
    forward_reference: Callable[[Tensor], Features] | None = None
    """The frozen network, without gradients; None if the algorithm has none."""
    step: int = 0
    """Optimiser steps done before this one."""
    seed: int = 0
    """The run's."""

    # Computed on first use and then kept: several terms share one forward.

    @cached_property
    def prediction(self) -> Prediction:
        """The student's logits and features of the images."""
        return self.forward(self.images)

    @cached_property
    def reference(self) -> Features:
        """The frozen network's features of the images."""
        if self.forward_reference is None:
            raise TypeError("this algorithm has no reference network: set `reference` in its class")
        return self.forward_reference(self.images)

    @property
    def each_cross_entropy(self) -> Tensor:
        """(domains · B,), in float32 under mixed precision."""
        return F.cross_entropy(self.prediction.logits.float(), self.labels, reduction="none")

    @property
    def cross_entropy(self) -> Tensor:
        """Mean over all images, in float32 under mixed precision."""
        return F.cross_entropy(self.prediction.logits.float(), self.labels)

    @property
    def generator(self) -> np.random.Generator:
        """For draws that are the same in all parts and processes of a step, and in its second pass."""
        return np.random.default_rng((self.seed, self.step, 4))

    def by_domain(self, values: Tensor) -> Tensor:
        """(domains · B, ...) -> (domains, B, ...)."""
        return values.unflatten(0, (self.domains, -1))

    def of_domain(self, index: int) -> "Batch":
        """The part of one domain. With frozen norms its forward is the same as the joint one, else it is not."""
        images, labels = self.by_domain(self.images)[index], self.by_domain(self.labels)[index]
        return replace(self, images=images, labels=labels, domains=1)


class Step(Protocol):
    """One optimiser step, as the trainer gives it to `Algorithm.step`."""

    @property
    def number(self) -> int:
        """Steps done before this one."""
        ...

    @property
    def domains(self) -> int:
        """Number of source domains."""
        ...

    @property
    def share(self) -> float:
        """Share of the run that is done, 0..1: of its processor time if that is its length, else of its steps."""
        ...

    def backward(self, domain: int | None = None, terms: Callable[[Batch], Terms] | None = None) -> Terms:
        """Forward and backward of the step's batch, or of one domain's part of it; may be called several times.

        Replaces the gradients of all networks, and returns the detached terms. `terms`: another loss than the
        algorithm's own. Every call draws the same dropout masks, so that a second pass differs by its weights alone.
        """
        ...

    def update(self) -> None:
        """Let all optimisers step with the gradients as they are."""
        ...

    def class_means(self) -> tuple[Tensor, Tensor]:
        """Mean pooled features (domains, classes, d) of all training images, and their numbers (domains, classes).

        In evaluation mode, without augmentation; a class without images has the mean 0. Every process must call it.
        Raises `BadSetting` if scenes are rendered during training.
        """
        ...


O = TypeVar("O")  # noqa: E741


class Algorithm(ABC, Generic[O]):
    """Base of all algorithms. The trainer makes one per run, before it makes the optimisers."""

    options_class: ClassVar[type[Any]]
    """Frozen dataclass; every field has a default."""
    reference: ClassVar[Literal["none", "start", "precursor"]] = "none"
    """The frozen network that the student is compared with: none, a copy of the weights that the student started
    from, or the classifier in the setting `precursor`, which is then required."""
    lr_factors: ClassVar[Mapping[str, float]] = {}
    """Learning rates of `networks`, relative to the student's; 1 if not listed."""
    predicts_with: ClassVar[tuple[str, ...]] = ()
    """Those of `networks` that `predict` uses: they are selected and averaged (SWAD) together with the student."""
    saved_with: ClassVar[tuple[str, ...]] = ()
    """Further ones that it uses, but that no longer change once weights are selected: they are only saved with it."""

    def __init__(self, options: O, student: Classifier, domains: int) -> None:
        """`domains`: number of source domains. A subclass may change the student here (adapters, frozen parts)."""
        self.options, self.student, self.domains = options, student, domains

    @classmethod
    def read_options(cls, settings: SMOSSettings) -> O:
        """The options that the settings ask for. Raises `BadSetting` naming an option that is unknown or wrong."""
        given, known = settings.options or {}, [field.name for field in fields(cls.options_class)]
        for name in given.keys() - set(known):
            raise BadSetting(
                f"{name}: neither a setting nor an option of {settings.algorithm}; its options: "
                f"{', '.join(known) or 'none'}."
            )
        if "start" in known and "start" not in given and settings.core_minutes is not None:
            raise BadSetting(
                f"core_minutes: {settings.algorithm} changes its loss after some steps, and how many a run by time "
                f"takes is not known; say when, as in {settings.algorithm},start=50."
            )
        return make_settings(cls.options_class, cls.from_settings(settings), given)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """Values of options that derive from other settings; `settings.options` overrides them."""
        return {}

    @classmethod
    @abstractmethod
    def describe(cls, options: O) -> str:
        """The loss in words, with its weights: a line above the table."""

    @property
    def warm_up(self) -> float:
        """Share of the run, below 1, in which weights are not yet measured, selected and averaged."""
        return 0.0

    def prepare(self, batch: Batch) -> Batch:
        """What is done to the images of a batch, once a step, before any terms are computed on them."""
        return batch

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """The weighted terms of the loss that are means over images: a step may compute them in parts."""

    def joint_terms(self, batch: Batch) -> Terms:
        """The weighted terms that need all images of the step at once, for example a covariance of features.

        Where a step is split into accumulation parts or processes, it has all logits and features, but no images and
        no maps; a forward more is then paid for that (see `gen.smos.joint`). Reach the student only by
        `batch.prediction`, so that its gradients are complete. Called once for each `Step.backward`, so it may update
        the algorithm's state.
        """
        return {}

    def step(self, step: Step) -> Terms:
        """One optimiser step; returns the terms to record."""
        terms = step.backward()
        step.update()
        return terms

    def networks(self) -> dict[str, nn.Module]:
        """Networks with parameters that are trained beside the student, each by an optimiser of its own."""
        return {}

    def optimizer(self, name: str, optimizer: Optimizer) -> Optimizer:
        """What trains network `name` ("student" or one of `networks`); the default is the Adam that is given."""
        return optimizer

    def predict(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] -> logits (B, classes), at test time, without gradients.

        An algorithm that adapts to the images must enable gradients itself, and put the weights back afterwards.
        """
        return self.student(images).logits

    def adapted(self, images: Tensor) -> AbstractContextManager[None]:
        """Within it `predict` is used on the images of one domain; `images` (B, 3, H, W) are the first of them.

        An algorithm that learns from them, without labels, says so in `describe`, and puts the weights back afterwards.
        """
        return nullcontext()

    def plain_weights(self) -> Mapping[str, Tensor]:
        """The student's weights by the names of `Classifier`: these are selected, averaged (SWAD) and exported."""
        return self.student.state_dict()

    def load_plain_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Let the student compute with what `plain_weights` returned, or with the mean of several."""
        self.student.load_state_dict(weights)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beyond networks and optimisers: running means, weights of domains."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; empty for a checkpoint that is older than this."""
