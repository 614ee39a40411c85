"""Exposure curve: the translation is the brightened or darkened frame plus a per-pixel change.

Not in the paper, whose decoders generate the whole image. Starting from the brightened frame, the network has the right
structure from the first step and learns only what to change.
"""

import math

import torch
from torch import Tensor, nn


class ExposureCurve(nn.Module):
    """y = ln(1 + k x) / ln(1 + k) on x in [0, 1], or its inverse; k is a learnt parameter.

    Unlike that of a gamma curve, the slope at black is finite, k / ln(1 + k), so noise in black areas is not blown up.
    """

    def __init__(self, strength: float) -> None:
        """Initial k = |strength|. A positive strength brightens, a negative one darkens."""
        super().__init__()
        self.brightens = strength > 0
        self.log_k = nn.Parameter(torch.tensor(math.log(abs(strength))))

    def forward(self, image: Tensor) -> Tensor:
        """Apply the curve to (B, 3, H, W) in [-1, 1]; values outside are clipped first."""
        x, k = (image.clamp(-1, 1) + 1) / 2, self.log_k.exp()
        y = torch.log1p(k * x) / torch.log1p(k) if self.brightens else torch.expm1(x * torch.log1p(k)) / k
        return 2 * y - 1


def compose(base: Tensor, maps: Tensor) -> Tensor:
    """(1 + gain) * base + offset, with base (B, 3, H, W) in [-1, 1] and maps (B, 6, H, W) = gain, offset.

    Not limited to [-1, 1]: a tanh would have almost no gradient at black and white pixels, and night skies are black.
    """
    gain, offset = maps.chunk(2, dim=1)
    return (1 + gain) * base + offset
