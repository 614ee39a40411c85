"""What an algorithm is to the trainer: options, loss terms, and hooks for those that need more than a loss.

An algorithm that is only a loss has `options_class`, `terms` and `describe`. The other members have defaults:

- `networks`, `lr_factors`, `predicts_with`: networks beside the student, for example a head for each domain.
- `optimizer`: wrap or replace the Adam of a network.
- `step`: several passes in one step (SAM), or a look at the gradient of each domain.
- `predict`: what is done at test time.
- `state`, `load_state`: what a checkpoint must hold beyond networks and optimisers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

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

    def backward(self, domain: int | None = None, terms: Callable[[Batch], Terms] | None = None) -> Terms:
        """Forward and backward of the step's batch, or of one domain's part of it; may be called several times.

        Replaces the gradients of all networks, and returns the detached terms. `terms`: another loss than the
        algorithm's own. Every call draws the same dropout masks, so that a second pass differs by its weights alone.
        """
        ...

    def update(self) -> None:
        """Let all optimisers step with the gradients as they are."""
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
        return make_settings(cls.options_class, cls.from_settings(settings), given)

    @classmethod
    def from_settings(cls, settings: SMOSSettings) -> Mapping[str, Any]:
        """Values of options that derive from other settings; `settings.options` overrides them."""
        return {}

    @classmethod
    @abstractmethod
    def describe(cls, options: O) -> str:
        """The loss in words, with its weights: a line above the table."""

    @abstractmethod
    def terms(self, batch: Batch) -> Terms:
        """The weighted terms of the loss."""

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

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beyond networks and optimisers: running means, weights of domains."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; empty for a checkpoint that is older than this."""
