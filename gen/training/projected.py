"""Projected discriminators: small heads on randomly mixed features of a frozen ImageNet network.

Sauer et al., "Projected GANs Converge Faster", NeurIPS 2021 (arXiv 2111.01007). Departures from the paper:
the frozen network is EfficientNet-Lite0; scales are mixed by random 1x1 convolutions and bilinear upsampling only; the
heads are patch discriminators, because a translation must look real everywhere; and the heads also see the image
itself, averaged to the size of each map. An ImageNet network is trained to be insensitive to lighting, but lighting,
such as a black sky, is what distinguishes night from day.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gen.pretrained import LiteBackbone

STRIDE = 32
"""Sides of an image must be multiples of this, the stride of the coarsest map."""


SPREAD = (6.8, 5.8, 4.7, 2.8)
"""Root mean square of each mixed map, measured on 32 dash-cam frames of day and night at 224x128 pixels. Dividing by it
brings the features to the scale of the colour channels beside them."""


class Projector(nn.Module):
    """Images -> four mixed feature maps at strides 4, 8, 16 and 32. It is not trained.

    Its random weights are a function of `seed`, so checkpoints do not store them.
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
        """Images (B, 3, H, W) in [-1, 1], sides multiples of 32 -> maps (B, width + 3, H/s, W/s) for s = 4, 8, 16, 32.

        Channels: a random mix of the map's own features and those of the coarser maps, then red, green and blue.
        """
        maps = self.features(images)
        mixed = [mix(x) for mix, x in zip(self.channels, maps, strict=True)]
        for level in range(len(mixed) - 2, -1, -1):
            coarse = self.scales[level](mixed[level + 1])
            mixed[level] = (mixed[level] + _enlarged(coarse, mixed[level])) / 2**0.5  # keeps the variance of the sum
        return [
            torch.cat([x / spread, F.adaptive_avg_pool2d(images, x.shape[-2:])], dim=1)
            for x, spread in zip(mixed, SPREAD, strict=True)
        ]

    def features(self, images: Tensor) -> list[Tensor]:
        """Images in [-1, 1] -> the frozen network's own four maps, unmixed."""
        # Grey level x = 127.5 (image + 1), and the network expects (x - 127) / 128.
        return self.backbone((images * 127.5 + 0.5) / 128)

    def train(self, mode: bool = True) -> "Projector":
        """Stay in evaluation mode."""
        return super().train(False)


def _random_mix(before: int, after: int, generator: torch.Generator) -> nn.Conv2d:
    """A 1x1 convolution with Kaiming-normal weights and no bias."""
    conv = nn.Conv2d(before, after, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="linear", generator=generator)
    return conv


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(coarse, like.shape[-2:], mode="bilinear", align_corners=False)


class ProjectedHeads(nn.Module):
    """One small spectrally normalised patch discriminator for each map of a `Projector`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The two finest maps, which hold most of the pixels, are halved first to save time.
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
