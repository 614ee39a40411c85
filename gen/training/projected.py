"""Projected discriminators: small heads on random projections of a frozen ImageNet network's features.

Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021 (arXiv 2111.01007). Ours differ in three ways. The frozen
network is EfficientNet-Lite0, without extra weights for scale mixing (random 1x1 convolutions and bilinear steps up).
The heads judge patches, because translated frames are judged place by place. And they also see the picture itself,
averaged to the size of each map: a network that was trained to know a car in any light hardly sees the light, and that
the sky is black is the first thing to say of a night.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gen.pretrained import LiteBackbone

STRIDE = 32
"""Sides of a judged image are multiples of this: the coarsest map's stride."""


SPREAD = (6.8, 5.8, 4.7, 2.8)
"""Root mean square of each mixed map, measured over 32 dash-cam frames of day and night at 224x128 pixels."""


class Projector(nn.Module):
    """Images -> four mixed feature maps at strides 4, 8, 16 and 32; nothing in it learns.

    Its random weights are a function of `seed`, so that no checkpoint needs to hold them.
    """

    def __init__(self, width: int, seed: int) -> None:
        """`width`: channels of each mixed map."""
        super().__init__()
        self.backbone = LiteBackbone()
        generator = torch.Generator().manual_seed(seed)
        self.channels = nn.ModuleList(_random_mix(c, width, generator) for c in LiteBackbone.CHANNELS)
        self.scales = nn.ModuleList(_random_mix(width, width, generator) for _ in LiteBackbone.CHANNELS[1:])
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) in [-1, 1], sides multiples of 32 -> maps (B, width + 3, H/s, W/s).

        For s = 4, 8, 16, 32: a random mix of the map's own channels and, from coarse to fine, of the maps below it,
        then red, green and blue.
        """
        maps = self.look(images)
        mixed = [mix(x) for mix, x in zip(self.channels, maps, strict=True)]
        for level in range(len(mixed) - 2, -1, -1):
            coarse = self.scales[level](mixed[level + 1])
            mixed[level] = (mixed[level] + _enlarged(coarse, mixed[level])) / 2**0.5
        return [
            torch.cat([x / spread, F.adaptive_avg_pool2d(images, x.shape[-2:])], dim=1)
            for x, spread in zip(mixed, SPREAD, strict=True)
        ]

    def look(self, images: Tensor) -> list[Tensor]:
        """Images in [-1, 1] -> the frozen network's own maps, unmixed."""
        return self.backbone((images * 127.5 + 0.5) / 128)

    def train(self, mode: bool = True) -> "Projector":
        """Stays in evaluation mode."""
        return super().train(False)


def _random_mix(before: int, after: int, generator: torch.Generator) -> nn.Conv2d:
    """A 1x1 convolution with Kaiming-normal weights and no bias."""
    conv = nn.Conv2d(before, after, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear", generator=generator)
    return conv


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear", align_corners=False)


class ProjectedHeads(nn.Module):
    """One small spectrally normalised head for each map of a `Projector`: which patches look real?"""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The two finest maps are halved first: they hold three quarters of all places.
        self.heads = nn.ModuleList(_head(width, stride) for stride in (2, 2, 1, 1))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The projector's maps -> four maps of logits (B, 1, h, w)."""
        return [head(x) for head, x in zip(self.heads, maps, strict=True)]


def _head(width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        spectral_norm(nn.Conv2d(width + 3, width, 3, stride=stride, padding=1)),
        nn.LeakyReLU(0.2, inplace=True),
        spectral_norm(nn.Conv2d(width, 1, 3, padding=1)),
    )
