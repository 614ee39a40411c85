"""MobileStyleGAN: depthwise separable convolutions, and levels that are joined by a Haar wavelet.

Belousov, "MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis", 2021
(arXiv 2104.04767). Its networks are students of a StyleGAN2 whose mapping network they share.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from gen.stylegan2.networks import EqualLinear, MappingNetwork, Noise, NoisyGenerator, full


def haar_inverse(x: Tensor) -> Tensor:
    """Inverse Haar transform, (B, 4 C, H, W) -> (B, C, 2 H, 2 W).

    The first C channels are the averages; then each channel has three: its vertical, horizontal and diagonal details.
    """
    batch, channels, height, width = x.shape
    c = channels // 4
    average, details = x[:, :c], x[:, c:].reshape(batch, c, 3, height, width)
    vertical, horizontal, diagonal = details.unbind(2)
    top, bottom = average + vertical, average - vertical
    left, right = horizontal + diagonal, horizontal - diagonal
    pixels = torch.stack([top + left, top - left, bottom + right, bottom - right], 2) / 2
    return F.pixel_shuffle(pixels.flatten(1, 2), 2)


def haar(x: Tensor) -> Tensor:
    """Haar transform, (B, C, 2 H, 2 W) -> (B, 4 C, H, W); see `haar_inverse`."""
    a, b, c, d = F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unbind(2)  # rows a b and c d of each block
    details = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], 2)
    return torch.cat([a + b + c + d, details.flatten(1, 2)], 1) / 2


class Modulation(nn.Module):
    """Scales the channels of features by a style."""

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, channels, bias=1.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features (B, C, H, W), w (B, w_dim) -> (B, C, H, W)."""
        return x * self.affine(w)[:, :, None, None].to(x.dtype)


class ScaledConv(nn.Module):
    """Convolution with equalised learning rate: its weights have unit variance, and are scaled where they are used."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs // groups, kernel, kernel))
        self.scale = 1 / math.sqrt(inputs // groups * kernel**2)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W)."""
        weight = (self.weight * self.scale).to(x.dtype)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=self.groups)


class StyledConv(nn.Module):
    """Modulation, convolution, noise, bias, leaky ReLU; with `up`, a wavelet doubles the size before it.

    There is no demodulation: the paper replaces it by factors that are trained, and are part of the weights here.
    """

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, w_dim: int, separable: bool = True, up: bool = False):
        super().__init__()
        self.before_up = Modulation(inputs, w_dim) if up else None
        inputs = inputs // 4 if up else inputs  # the wavelet takes four channels for one
        self.modulation = Modulation(inputs, w_dim)
        if separable:
            self.conv = nn.Sequential(ScaledConv(inputs, inputs, 3, groups=inputs), ScaledConv(inputs, outputs, 1))
        else:
            self.conv = nn.Sequential(ScaledConv(inputs, outputs, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Features, w (B, w_dim), noise (1 or B, 1, size, size) or None -> (B, out, size, size)."""
        if self.before_up is not None:
            x = haar_inverse(self.before_up(x, w))
        x = self.conv(self.modulation(x, w))
        if noise is not None:
            x = x + (noise * self.noise_strength).to(x.dtype)
        return F.leaky_relu(x + self.bias.to(x.dtype)[:, None, None], 0.2)


class ToImage(nn.Module):
    """Features -> the image of twice their size, by its wavelet transform."""

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.modulation = Modulation(inputs, w_dim)
        self.conv = ScaledConv(inputs, 12, 1)
        self.bias = nn.Parameter(torch.zeros(12))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, in, H, W), (B, w_dim) -> (B, 3, 2 H, 2 W), float32."""
        return haar_inverse(full(self.conv(self.modulation(x, w))) + full(self.bias)[:, None, None])


class MobileStyleGANGenerator(NoisyGenerator):
    """z -> w -> image, with the same methods as `StyleGAN2Generator`.

    `channels` are those at 4, 8, ..., and at half the size of the image. An image of size 2^k uses 2k - 2 copies of w,
    as a StyleGAN2 of that size: one per convolution, and one for the image.
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (512, 512, 512, 512, 512, 256, 128, 64),
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
    ) -> None:
        """The defaults are those of the published network of 1024 pixels."""
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.size = 2 ** (len(channels) + 2)
        self.layers = 2 * len(channels)
        self.noise_sizes = [4, *(2**k for k in range(3, len(channels) + 2) for _ in range(2))]
        """Side of the noise map of each convolution, in pixels."""
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers)
        self.register_buffer("w_average", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(channels[0], channels[0], 4, w_dim, separable=False)])
        for level, (before, after) in enumerate(pairwise(channels)):
            size = 8 * 2**level
            self.convs.append(StyledConv(before, after, size, w_dim, up=True))
            self.convs.append(StyledConv(after, after, size, w_dim))
        self.to_image = ToImage(channels[-1], w_dim)

    def synthesis(self, w: Tensor, noise: Noise = "fixed") -> Tensor:
        """w (B, w_dim), or one per layer (B, layers, w_dim) -> images (B, 3, size, size), nominally in [-1, 1]."""
        ws = w.unsqueeze(1).expand(-1, self.layers, -1) if w.ndim == 2 else w
        maps = self.noise_maps(noise, ws)
        x = self.constant.expand(ws.shape[0], -1, -1, -1)  # `len` would be a constant where `gen export` traces this
        for index, conv in enumerate(self.convs):
            x = conv(x, ws[:, index], maps[index])
        return self.to_image(x, ws[:, -1])
