"""The frame itself as the ground of its translation: brightened or darkened by a curve, then changed place by place.

Not of the paper, whose decoders paint every picture anew. A network that begins with the brightened frame has its
structure from the first step, and learns what to change.
"""

import math

import torch
from torch import Tensor, nn


class ExposureCurve(nn.Module):
    """y = ln(1 + k x) / ln(1 + k) on x in [0, 1], or its inverse; k is learnt.

    The slope at black is k / ln(1 + k), bounded, unlike a gamma curve's, so that noise in black is not torn apart.
    """

    def __init__(self, strength: float) -> None:
        """k = |strength| to begin with; above 0: brighten, below 0: darken."""
        super().__init__()
        self.brightens = strength > 0
        self.log_k = nn.Parameter(torch.tensor(math.log(abs(strength))))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> the same, in [-1, 1]; what lies beyond is clipped first."""
        x, k = (image.clamp(-1, 1) + 1) / 2, self.log_k.exp()
        y = torch.log1p(k * x) / torch.log1p(k) if self.brightens else torch.expm1(x * torch.log1p(k)) / k
        return 2 * y - 1


def compose(ground: Tensor, maps: Tensor) -> Tensor:
    """(1 + gain) ground + offset: ground (B, 3, H, W) in [-1, 1], maps (B, 6, H, W) = gain, offset.

    Nothing holds the result within [-1, 1] but what it is trained on: the squashing of a tanh would take the gradient
    from black and white pixels, and the night's sky is black.
    """
    gain, offset = maps.chunk(2, dim=1)
    return (1 + gain) * ground + offset
