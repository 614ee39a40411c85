"""Losses that several translators share, each a pure function of tensors. Images are in [-1, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor

LogitSet = Sequence[Sequence[Tensor]]
"""For each discriminator of a domain, its maps of logits."""


def least_squares(logits: Sequence[Tensor], target: float) -> Tensor:
    """Mean over the maps of mean (D - target)^2: LSGAN (Mao et al. 2017), for a discriminator of one or more scales."""
    return torch.stack([(x.float() - target).square().mean() for x in logits]).mean()


def adversarial_generator(fake: LogitSet) -> Tensor:
    """LSGAN generator loss: sum_i mean_maps (D_i(fake) - 1)^2."""
    return torch.stack([least_squares(logits, 1.0) for logits in fake]).sum()


def adversarial_discriminator(real: LogitSet, fake: LogitSet) -> Tensor:
    """LSGAN discriminator loss: sum_i 1/2 [mean (D_i(real) - 1)^2 + mean D_i(fake)^2]."""
    terms = [(least_squares(r, 1.0) + least_squares(f, 0.0)) / 2 for r, f in zip(real, fake, strict=True)]
    return torch.stack(terms).sum()


def cycle(cycled: Tensor, image: Tensor) -> Tensor:
    """Cycle consistency: mean |x_cyc - x| (Zhu et al. 2017)."""
    return (cycled.float() - image).abs().mean()


def pair(translated: Tensor, truth: Tensor, known: Tensor, quantile: float = 0.5) -> Tensor:
    """Mean quantile loss over the samples whose truth is known, (B,) bool: pairs; 0 if there are none.

    2 max(q e, (q - 1) e) with e = truth - translated and q the `quantile` (Koenker and Bassett 1978): at 0.5 it is |e|.
    Where a frame leaves the truth open, its minimum is that quantile of what may be true; where it does not, the truth.
    """
    error = truth.float() - translated.float()
    distance = 2 * torch.maximum(quantile * error, (quantile - 1) * error).mean(dim=(1, 2, 3))
    return (distance * known).sum() / known.sum().clamp(min=1)
