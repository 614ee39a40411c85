"""The light design of AU-GAN's generators: the same parts with the same feature sizes, at a quarter of the MACs.

Not in the paper. The published design spends most MACs in dense 3x3 convolutions at 1/4 of the frame's size, and much
time in 7x7 convolutions at full size. Here residual blocks are depthwise separable, and most of them work at 1/8 of the
size, where their receptive field is also larger. Pixel unshuffle and shuffle replace the convolutions at full size.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from gen.augan.residual import Residual
from gen.pretrained import LiteBackbone
from gen.tensors import constant
from gen.translation.norm import InstanceNorm
from gen.translation.tiling import Run

MULTIPLE = 8
"""Sides of an image must be multiples of this."""
PRETRAINED_MULTIPLE = 16
"""The same with a pretrained encoder."""


class SeparableBlock(Residual):
    """Depthwise 3x3, pointwise, norm, ReLU, depthwise 3x3, pointwise, norm; plus the input."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Sequential(*_separable(channels), nn.ReLU(inplace=True), *_separable(channels)))


def _separable(channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        InstanceNorm(channels),
    ]


class HalfSize(Residual):
    """`count` separable blocks with twice the channels at half the size; plus the input, whose sides must be even."""

    def __init__(self, channels: int, count: int) -> None:
        layers = nn.Sequential(
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            InstanceNorm(2 * channels),
            nn.ReLU(inplace=True),
            *(SeparableBlock(2 * channels) for _ in range(count)),
            nn.Conv2d(2 * channels, channels, 1, bias=False),
            nn.Upsample(scale_factor=2, mode="bilinear"),  # a pixel shuffle leaves a grid with a period of 8 pixels
            InstanceNorm(channels),
        )
        super().__init__(layers)


def blocks(channels: int, count: int) -> nn.Sequential:
    """The light counterpart of `count` residual blocks; the identity for 0."""
    return nn.Sequential(SeparableBlock(channels), HalfSize(channels, count)) if count else nn.Sequential()


def encoder(width: int, count: int, channels: int) -> nn.Sequential:
    """Image (B, channels, H, W) -> features (B, 4 width, H/4, W/4)."""
    return nn.Sequential(
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * channels, 2 * width, 3, padding=1, bias=False),
        InstanceNorm(2 * width),
        nn.ReLU(inplace=True),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1, bias=False),
        InstanceNorm(4 * width),
        nn.ReLU(inplace=True),
        *blocks(4 * width, count),
    )


class PretrainedEncoder(nn.Module):
    """`encoder` plus the feature maps of a frozen ImageNet network at strides 4, 8 and 16.

    Each map is mixed to 4 width channels, normalised, and added to the next finer one, as in a feature pyramid (Lin et
    al., CVPR 2017). The frozen network sees the brighter one of the encoder's input images, because ImageNet has few
    dark images.
    """

    LEVELS = 3

    def __init__(self, width: int, count: int, channels: int, brighter: slice) -> None:
        """`brighter`: the input channels that the frozen network sees."""
        super().__init__()
        self.brighter = brighter
        self.frozen = LiteBackbone(self.LEVELS)
        self.door = encoder(width, 0, channels)
        self.mixes = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 4 * width, 1, bias=False), InstanceNorm(4 * width))
            for c in LiteBackbone.CHANNELS[: self.LEVELS]
        )
        self.blocks = blocks(4 * width, count)

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, channels, H, W), sides multiples of 16 -> features (B, 4 width, H/4, W/4)."""
        return self.in_strips(x, lambda part, y: part(y))

    def in_strips(self, x: Tensor, run: Run) -> Tensor:
        """Like `forward`, but with `run(part, y)` in place of part(y), see `gen.translation.tiling`."""
        # Grey level x = 127.5 (image + 1), and the network expects (x - 127) / 128.
        maps = self.frozen((x[:, self.brighter] * 127.5 + 0.5) / 128, run)
        mixed = [run(mix, found) for mix, found in zip(self.mixes, maps, strict=True)]
        joined = mixed.pop()
        while mixed:
            joined = mixed.pop() + F.interpolate(joined, scale_factor=2, mode="bilinear")
        return run(self.blocks, run(self.door, x) + joined)


def upsample(channels: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, C/2, 2H, 2W), normalised, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, channels // 2, 1, bias=False),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        InstanceNorm(channels // 2),
        nn.ReLU(inplace=True),
    )


def to_image(width: int, channels: int) -> nn.Sequential:
    """Half-size features (B, 2 width, H/2, W/2) -> (B, channels, H, W), without the last non-linearity."""
    return nn.Sequential(nn.Conv2d(2 * width, 4 * channels, 3, padding=1, bias=False), nn.PixelShuffle(2), Binomial())


class Binomial(nn.Module):
    """Blur by (1, 2, 1)/4 in both directions, which removes patterns that alternate from pixel to pixel.

    A pixel shuffle leaves such a grid, and losses on the features of a strided network even encourage it. The image
    stays sharp, because it is added to the exposed frame, which is not blurred.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        kernel, channels = constant((0.25, 0.5, 0.25), x), int(x.shape[1])  # int: a constant in a traced graph
        for side in ((0, 0, 1, 1), (1, 1, 0, 0)):
            shape = (1, 1, 3, 1) if side[2] else (1, 1, 1, 3)
            weight = kernel.view(shape).expand(channels, 1, -1, -1)
            x = F.conv2d(F.pad(x, side, mode="reflect"), weight, groups=channels)
        return x


def smooth_shuffles(network: nn.Module) -> None:
    """Initialise the four output pixels of each pixel shuffle with equal weights: no grid at the start."""
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for conv, after in pairwise(module):
                if isinstance(conv, nn.Conv2d) and isinstance(after, nn.PixelShuffle):
                    fours = conv.weight.data.unflatten(0, (-1, 4))
                    fours[:, 1:] = fours[:, :1]
