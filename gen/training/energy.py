"""Energy distance between the features of generated and real images: a distribution loss without a discriminator.

E = 2 E|x - y| - E|x - x'| - E|y - y'| for generated x and real y (Szekely and Rizzo, "Energy statistics", 2013). It is
a maximum mean discrepancy with the kernel -|x - y|; generative moment matching networks (Li et al., ICML 2015) and
Cramer GANs (Bellemare et al., 2017) minimise similar distances. Here x and y are the mean features of a frozen network
and the mean colours in each of a few horizontal bands: in dash-cam frames, the sky is above and the road below.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 4
"""Horizontal bands of an image, of equal height."""
MEMORY_SIZE = 256
"""Images of each kind that a new one is compared with."""
MIN_IMAGES = 32
"""With fewer images in a memory, the loss is 0: means over a few images would be too noisy."""


def band_features(images: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Mean per band of the images (B, 3, H, W) and of each of their feature maps (B, C_l, h_l, w_l): (B, bands, C)."""
    return [F.adaptive_avg_pool2d(x.float(), (BANDS, 1))[..., 0].transpose(1, 2) for x in (images, *maps)]


class FeatureMemory:
    """Band features of the last `MEMORY_SIZE` images of one kind, without gradients."""

    def __init__(self) -> None:
        self.levels: list[Tensor] = []
        """One (N, bands, C) per feature level, the newest last. Saved in checkpoints."""

    def __len__(self) -> int:
        return len(self.levels[0]) if self.levels else 0

    def add(self, features: Sequence[Tensor]) -> None:
        """Append new features; drop the oldest beyond `MEMORY_SIZE`."""
        new = [level.detach() for level in features]
        joined = [torch.cat(both) for both in zip(self.levels, new, strict=True)] if self.levels else new
        self.levels = [level[-MEMORY_SIZE:] for level in joined]


def energy(features: Sequence[Tensor], real: FeatureMemory, generated: FeatureMemory) -> Tensor:
    """The part of the energy distance that depends on new images x: mean of (2 E|x - y| - 2 E|x - x'|) / spread.

    `features`: `band_features` of x; y: real images; x': generated ones of earlier steps. The spread is the mean
    distance of the real images from their mean; it gives all levels equal weight. E|y - y'| is constant and left out.
    Negative if x is nearer to the real images than to the generated ones.
    """
    if min(len(real), len(generated)) < MIN_IMAGES:
        return features[0].new_zeros(())
    terms = [
        2 * (_distance(x, y) - _distance(x, others)) / (y - y.mean(0)).norm(dim=-1).mean()
        for x, y, others in zip(features, real.levels, generated.levels, strict=True)
    ]
    return torch.stack([term.mean() for term in terms]).mean()


def _distance(x: Tensor, others: Tensor) -> Tensor:
    """Mean distance of each x (B, bands, C) from `others` (N, bands, C): (B, bands)."""
    # 1e-8: the gradient of sqrt is infinite at 0, which two equal images would reach.
    return ((x[:, None] - others).square().sum(-1) + 1e-8).sqrt().mean(1)
