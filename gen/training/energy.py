"""Distance of distributions without a discriminator: the energy distance of pictures' features, band by band.

E = 2 E|x - y| - E|x - x'| - E|y - y'| for made pictures x and real ones y (Szekely and Rizzo, "Energy statistics",
2013) is a maximum mean discrepancy with the kernel -|x - y|; generative moment matching networks (Li et al., ICML 2015)
and Cramer GANs (Bellemare et al., 2017) minimise the like. Here x and y are the mean features of a frozen network in
each of a few horizontal bands of a picture, and its mean colours there: dash-cams have the sky above, the road below.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = 4
"""Horizontal bands of a picture, of equal height."""
MEMORY = 256
"""Pictures of each kind that a new one is compared with."""
FEWEST = 32
"""With fewer remembered, nothing is compared."""


def describe(images: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
    """Images (B, 3, H, W) and their feature maps (B, C_l, h_l, w_l) -> for each, colours first, means (B, bands, C)."""
    return [F.adaptive_avg_pool2d(x.float(), (BANDS, 1))[..., 0].transpose(1, 2) for x in (images, *maps)]


class Memory:
    """Descriptions of the last pictures of one kind, without gradients."""

    def __init__(self) -> None:
        self.levels: list[Tensor] = []
        """For each level (N, bands, C), the newest last."""

    def __len__(self) -> int:
        return len(self.levels[0]) if self.levels else 0

    def add(self, description: Sequence[Tensor]) -> None:
        """Remember, and forget the oldest beyond `MEMORY`."""
        new = [level.detach() for level in description]
        joined = [torch.cat(both) for both in zip(self.levels, new, strict=True)] if self.levels else new
        self.levels = [level[-MEMORY:] for level in joined]


def energy(description: Sequence[Tensor], real: Memory, made: Memory) -> Tensor:
    """What the pictures described add to the energy distance: mean over all of (2 E|x - y| - 2 E|x - x'|) / spread.

    y are real pictures, x' others that were made, and spread is the mean distance of real pictures from their mean, so
    that all levels weigh alike. Below zero where a picture is nearer to the real ones than to what was made before.
    """
    if min(len(real), len(made)) < FEWEST:
        return description[0].new_zeros(())
    terms = [
        2 * (_distance(x, y) - _distance(x, others)) / (y - y.mean(0)).norm(dim=-1).mean()
        for x, y, others in zip(description, real.levels, made.levels, strict=True)
    ]
    return torch.stack([term.mean() for term in terms]).mean()


def _distance(x: Tensor, others: Tensor) -> Tensor:
    """Mean over `others` (N, bands, C) of the distance of each x (B, bands, C) -> (B, bands)."""
    return ((x[:, None] - others).square().sum(-1) + 1e-8).sqrt().mean(1)
