"""Meta-DMoE (Zhong et al. 2022, arXiv 2210.03885; n3il666/Meta-DMoE): learn to adapt to unlabelled images of a domain.

φ_θ: the student's features, h: its linear layer. E_j: experts, one for each source domain. A: the aggregator, a
transformer layer over the features of several experts, whose mean over the experts it returns.

1. Experts: each learns its own domain by cross-entropy (ERM); the student learns all domains in the same way.
2. Aggregator: the experts are frozen; A and a linear layer learn to classify from the features of all experts.
3. Meta-distillation. For each domain d, with support images x_S, whose labels are not used, and query images x_Q, y_Q:
   t = A({E_j(x_S)}, j ≠ d),  L_S(θ) = mean (φ_θ(x_S) - t)²,  θ' = θ - α ∇L_S(θ),  L_d = CE(h(φ_θ'(x_Q)), y_Q).
   The optimiser steps with the gradient of mean_d L_d with respect to θ, h and A, through θ' (second order).
4. Test: θ' of the first batch of a domain, from the features of all experts, predicts all of the domain's images.

The gradient is computed in three passes, each over all parts and processes of a step, so that all have the same θ':
u = ∇L_S at θ; g = ∇L_d at θ'; then ∇ of -α ⟨∇L_S(θ), g⟩ with g fixed, which is what g lacks of the gradient by θ, and
is all of the gradient by A.

Departures from the public code, which has other data sets: all is one run, whose first half (`warm_up`) is steps 1 and
2, each for half of it; every domain has its turn in each step (there a domain a step); support and query are every
second image (there 24 and 16 of 40); A has the student's learning rate (there a thirtieth, in many times the steps);
Adam goes on from phase to phase (there anew each epoch). As there, A has no dropout in step 3, and α is that of
iWildCam. Grounded, as smos(meta_dmoe), the student has the further terms in steps 1 and 2, and on the query images.
"""

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.smos.algorithms.base import Algorithm, Batch, Step, Terms
from gen.smos.algorithms.sam import moved
from gen.smos.backbones import Classifier, Prediction, statistics_kept
from gen.smos.settings import SMOSSettings
from gen.tensors import in_float32

HEADS, DROPOUT = 16, 0.1
"""Of the aggregator, as published; fewer heads if the features cannot be divided by 16."""

TOO_FEW = (
    "batch: meta_dmoe needs at least 2 images of each domain in each part and process of a step; set a larger batch, "
    "or a smaller accumulate."
)


@dataclass(frozen=True)
class MetaDMoEOptions:
    """Options of Meta-DMoE."""

    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the run, in steps or in time, in which first the experts and then the aggregator are trained."""
    alpha: Annotated[float, Field(ge=0)] = 3e-4
    """α, the length of the inner step."""
    first_order: bool = False
    """Take θ' for θ in the gradient: less than half of the work, but then the aggregator learns nothing in step 3."""
    adapt: bool = True
    """Adapt to the first batch of a domain at test time; false: the student predicts as it is."""


class Experts(nn.Module):
    """A classifier for each source domain."""

    def __init__(self, student: Classifier, domains: int) -> None:
        """All start as the student does."""
        super().__init__()
        self.each = nn.ModuleList([copy.deepcopy(student) for _ in range(domains)])

    def forward(self, images: Mapping[int, Tensor]) -> list[Prediction]:
        """By number of the expert: the images that it sees."""
        return [self.each[number](seen) for number, seen in images.items()]


class Aggregator(nn.Module):
    """A transformer layer over experts, without positions, so that their order does not matter."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        heads = math.gcd(HEADS, width)
        self.layer = nn.TransformerEncoderLayer(
            width, heads, 2 * width, DROPOUT, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features of experts (B, experts, d) -> t (B, d) and logits (B, classes)."""
        mixed = self.layer(features).mean(1)
        return mixed, self.head(mixed)


class MetaDMoE(Algorithm[MetaDMoEOptions]):
    """Experts and aggregator are networks beside the student."""

    options_class = MetaDMoEOptions
    predicts_with = ("aggregator",)
    saved_with = ("experts",)

    def __init__(self, options: MetaDMoEOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        if domains < 2:
            raise BadSetting(
                "algorithm meta_dmoe: it needs at least two source domains, to leave out the expert of one."
            )
        self.experts = Experts(student, domains)
        self.aggregator = Aggregator(student.body.width, student.head.out_features)

    @property
    def body(self) -> list[nn.Parameter]:
        """The weights of the features: θ."""
        return [p for p in self.student.body.parameters() if p.requires_grad]

    @classmethod
    def read_options(cls, settings: SMOSSettings) -> MetaDMoEOptions:
        """As `Algorithm.read_options`; also raises `BadSetting` for too few images, and without second derivatives."""
        options = super().read_options(settings)
        if settings.batch < 2 * settings.accumulate:
            raise BadSetting(TOO_FEW)
        if settings.compile and not options.first_order:
            raise BadSetting(
                "compile: what torch.compile makes of a network has no second derivatives, which meta_dmoe needs; set "
                "compile=false, or its option first_order=true."
            )
        return options

    @classmethod
    def describe(cls, options: MetaDMoEOptions) -> str:
        """The loss in words."""
        order = "first" if options.first_order else "second"
        adapted = ", adapted at test time to a first unlabelled batch of the target" if options.adapt else ""
        return (
            f"cross-entropy after a step of {options.alpha:g} towards features mixed from experts of the other domains "
            f"({order} order), which are trained in the first {options.warm_up:.0%} of the run{adapted}"
        )

    @property
    def warm_up(self) -> float:
        """Steps 1 and 2."""
        return self.options.warm_up

    def networks(self) -> dict[str, nn.Module]:
        """The experts and the aggregator."""
        return {"experts": self.experts, "aggregator": self.aggregator}

    # Losses.

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy of the student."""
        return {"cross_entropy": batch.cross_entropy}

    def terms_with_experts(self, batch: Batch) -> Terms:
        """And of the experts: a sum, so that each has the gradient that it would have alone."""
        if len(batch.labels) < 2 * batch.domains:  # now, and not in the middle of the run
            raise BadSetting(TOO_FEW)
        images, labels = batch.by_domain(batch.images), batch.by_domain(batch.labels)
        predictions = self.experts(dict(enumerate(images)))
        each = [F.cross_entropy(p.logits.float(), y) for p, y in zip(predictions, labels, strict=True)]
        return {**self.terms(batch), "experts": torch.stack(each).sum()}

    def terms_with_aggregator(self, batch: Batch) -> Terms:
        """And of the aggregator, on the features of all experts."""
        logits = self.aggregator(self.features(batch.images, range(self.domains)))[1]
        return {**self.terms(batch), "aggregator": F.cross_entropy(logits.float(), batch.labels)}

    def query_terms(self, batch: Batch) -> Terms:
        """Those of the query images."""
        return self.terms(replace(batch, images=batch.images[1::2], labels=batch.labels[1::2]))

    def distance_terms(self, domain: int, batch: Batch) -> Terms:
        """L_S of the support images."""
        support = self.support(batch)
        return {"distance": self.distance(domain, support) + _of_no_weight(support)}

    def second_order_terms(self, domain: int, outer: Sequence[tuple[Tensor, Tensor]], batch: Batch) -> Terms:
        """-α ⟨∇L_S, g⟩; `outer`: the features' weights, each with its g."""
        support, weights = self.support(batch), [weight for weight, _ in outer]
        inner = torch.autograd.grad(self.distance(domain, support), weights, create_graph=True)
        product = torch.stack([(u * g).sum() for u, (_, g) in zip(inner, outer, strict=True)]).sum()
        return {"second_order": -self.options.alpha * product + _of_no_weight(support)}

    def support(self, batch: Batch) -> Batch:
        """The support images of a domain."""
        return replace(batch, images=batch.images[0::2], labels=batch.labels[0::2])

    def distance(self, domain: int, support: Batch) -> Tensor:
        """L_S."""
        others = [number for number in range(self.domains) if number != domain]
        return (in_float32(support.prediction.pooled) - self.target(support.images, others)).square().mean()

    def features(self, images: Tensor, numbers: Sequence[int]) -> Tensor:
        """Of images (B, 3, H, W) by these experts, which are frozen: (B, experts, d)."""
        self.experts.eval()
        with torch.no_grad():
            return torch.stack([in_float32(p.pooled) for p in self.experts(dict.fromkeys(numbers, images))], 1)

    def target(self, images: Tensor, numbers: Sequence[int]) -> Tensor:
        """t (B, d)."""
        self.aggregator.eval()
        return in_float32(self.aggregator(self.features(images, numbers))[0])

    # The run.

    def step(self, step: Step) -> Terms:
        """A step of the phase that the run is in."""
        if step.share >= self.options.warm_up:
            terms = self._distil(step)
        elif step.share < self.options.warm_up / 2:
            self.experts.train()
            terms = step.backward(terms=self.terms_with_experts)
        else:
            self.aggregator.train()
            terms = step.backward(terms=self.terms_with_aggregator)
        step.update()
        return terms

    def _distil(self, step: Step) -> Terms:
        """Leaves the mean gradient of the domains' L_d; returns their mean terms."""
        parameters = [p for network in (self.student, *self.networks().values()) for p in network.parameters()]
        sums: list[Tensor | None] = [None] * len(parameters)
        terms: list[Terms] = []
        for domain in range(step.domains):
            terms.append(self._backward(step, domain))
            for n, parameter in enumerate(parameters):
                sums[n] = _added(sums[n], parameter.grad)
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = None if total is None else total / step.domains
        return {name: torch.stack([found[name] for found in terms]).mean() for name in terms[0]}

    def _backward(self, step: Step, domain: int) -> Terms:
        """Leaves the gradient of L_d."""
        o, networks = self.options, (self.student, *self.networks().values())
        with statistics_kept(self.student):
            found = step.backward(domain, partial(self.distance_terms, domain))
        with self.moved(_with_gradients(self.body)):
            terms = step.backward(domain, self.query_terms)
        if o.alpha and not o.first_order:
            query = [(p, p.grad) for network in networks for p in network.parameters()]
            with statistics_kept(self.student):
                step.backward(domain, partial(self.second_order_terms, domain, _with_gradients(self.body)))
            for parameter, gradient in query:
                parameter.grad = _added(parameter.grad, gradient)
        return terms | {"progress/distance": found["distance"]}

    def moved(self, gradients: Sequence[tuple[Tensor, Tensor]]) -> AbstractContextManager[None]:
        """Within it the student has θ'; `gradients`: the features' weights, each with its gradient of L_S."""
        return moved([weight for weight, _ in gradients], [u for _, u in gradients], -self.options.alpha)

    @contextmanager
    def adapted(self, images: Tensor) -> Generator[None]:
        """Within the block the student has θ' of these images."""
        if not self.options.adapt:
            yield
            return
        with torch.enable_grad():
            target = self.target(images, range(self.domains)).detach()
            distance = (in_float32(self.student(images).pooled) - target).square().mean()
            gradients = torch.autograd.grad(distance, self.body, materialize_grads=True)
        with self.moved(list(zip(self.body, gradients, strict=True))):
            yield


def _of_no_weight(batch: Batch) -> Tensor:
    """0 with a gradient for every weight of the student: several processes wait for one of each."""
    return 0 * batch.prediction.logits.sum()


def _with_gradients(weights: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(weight, weight.grad) for weight in weights if weight.grad is not None]


def _added(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The sum of two gradients, of which either may be missing."""
    return other if one is None else one if other is None else one + other
