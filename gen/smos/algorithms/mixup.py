"""Mixup across domains (Yan et al. 2020, arXiv 2001.00677; Mixup of DomainBed).

The domains form a ring in a random order. Each is mixed with the next: x = λ x_i + (1 - λ) x_j with λ ~ Beta(α, α), one
for each pair and step; L = mean over pairs of λ CE(x, y_i) + (1 - λ) CE(x, y_j).

Grounded, as smos(mixup), the precursor sees the mixed images too.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field

from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.tensors import on_device


@dataclass(frozen=True)
class MixupOptions:
    """Options of Mixup."""

    alpha: Annotated[float, Field(ge=0)] = 0.2
    """α; 0 mixes nothing."""


class Mixup(Algorithm[MixupOptions]):
    """Cross-entropy of mixed images."""

    options_class = MixupOptions

    @classmethod
    def describe(cls, options: MixupOptions) -> str:
        """The loss in words."""
        return f"cross-entropy of images mixed across domains, Beta({options.alpha:g}, {options.alpha:g})"

    def draw(self, generator: np.random.Generator, domains: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The partner of each domain, and its λ."""
        order = generator.permutation(domains)
        partner = np.empty_like(order)
        partner[order] = np.roll(order, -1)
        alpha = self.options.alpha
        return partner, generator.beta(alpha, alpha, domains) if alpha else np.ones(domains)

    def prepare(self, batch: Batch) -> Batch:
        """Mixed images, with the labels of each image's own domain."""
        partner, drawn = self.draw(batch.generator, batch.domains)
        images, weight = batch.by_domain(batch.images), on_device(drawn, batch.images.device).to(batch.images.dtype)
        weight = weight.view(-1, 1, 1, 1, 1)
        mixed = (weight * images + (1 - weight) * images[on_device(partner, images.device)]).flatten(0, 1)
        channels_last = batch.images.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return replace(batch, images=mixed.contiguous(memory_format=layout))

    def terms(self, batch: Batch) -> Terms:
        """The loss of mixed images: of the label of their own domain and of the partner's."""
        partner, drawn = self.draw(batch.generator, batch.domains)  # the same as in `prepare`
        labels = batch.by_domain(batch.labels)
        others = labels[on_device(partner, labels.device)].flatten()
        logits = batch.prediction.logits.float()
        other = batch.by_domain(F.cross_entropy(logits, others, reduction="none"))
        own = batch.by_domain(batch.each_cross_entropy)
        share = on_device(drawn, own.device).to(own.dtype)[:, None]
        return {"cross_entropy": (share * own + (1 - share) * other).mean()}
