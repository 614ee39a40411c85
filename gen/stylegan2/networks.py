"""StyleGAN2 networks: mapping, modulated convolutions, skip toRGB, residual discriminator.

Pure PyTorch, without compiled CUDA kernels.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020 (arXiv 1912.04958), configuration F.
Every weight is stored with unit variance and scaled where it is used (the equalised learning rate): Adam moves all
weights by about the learning rate, so all layers then change at the same relative speed.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen.tensors import constant

Noise = Literal["fixed", "random", "none"] | Sequence[Tensor]
"""fixed: the maps stored with the weights; random: new maps for each call; or one map (1 or B, 1, r, r) per layer."""

SQRT2 = math.sqrt(2.0)


def config_f_channels(size: int, multiplier: float = 2.0, maximum: int = 512) -> tuple[int, ...]:
    """Channels at 4, 8, ..., `size` pixels: min(maximum, 16384 multiplier / r). Configuration F has multiplier 2."""
    resolutions = [2**k for k in range(2, size.bit_length())]
    return tuple(round(min(maximum, 16384 * multiplier / r)) for r in resolutions)


def full(x: Tensor) -> Tensor:
    """x as float32; float64 stays float64 (the tests compare in it)."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class EqualLinear(nn.Module):
    """x W^T lr_multiplier / sqrt(in) + lr_multiplier b, computed in float32."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_multiplier))
        self.scale = lr_multiplier / math.sqrt(inputs)
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) -> (B, out)."""
        # Styles and w are small vectors: float32 costs nothing here, and rounding them would shift whole pictures.
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(full(x), full(self.weight) * self.scale, full(self.bias) * self.lr_multiplier)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, times sqrt(2) so that the output has about the variance of the input."""
    return F.leaky_relu(x, 0.2) * SQRT2


def clamped(x: Tensor, most: float | None) -> Tensor:
    """x, at most `most` from 0; None: x itself."""
    return x if most is None else x.clamp(-most, most)


class MappingNetwork(nn.Module):
    """z -> w: normalise z, then fully connected layers with a learning rate multiplier of 0.01, as published."""

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        widths = [z_dim, *[w_dim] * layers]
        self.layers = nn.ModuleList(EqualLinear(a, b, lr_multiplier=0.01) for a, b in pairwise(widths))

    def forward(self, z: Tensor) -> Tensor:
        """(B, z_dim) -> (B, w_dim)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = leaky(layer(x))
        return x


class ModulatedConv(nn.Module):
    """Convolution modulated by a style: input channels are scaled by it, output channels are normalised (demodulated).

    The usual form builds one kernel per image and runs a grouped convolution. Scaling the input before and the output
    after one ordinary convolution gives the same result (section 2.2 of the paper) and is faster; see
    benchmarks/stylegan2.py.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, w_dim: int, up: bool = False, demodulate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.affine = EqualLinear(w_dim, inputs, bias=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.up, self.demodulate = up, demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features (B, in, H, W), w (B, w_dim) -> (B, out, H, W), or twice the size with `up`."""
        return self.convolve(x, self.affine(w))

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """Features (B, in, H, W), style (B, in) -> (B, out, H, W), or twice the size with `up`."""
        weight = self.weight * self.scale
        if self.demodulate:
            # Demodulation cancels any common factor of the style, so dividing by its RMS first changes nothing
            # but the range: activations in float16 cannot overflow.
            style = style * torch.rsqrt(style.square().mean(1, keepdim=True) + 1e-8)
            norm = torch.rsqrt(style.square() @ full(weight).square().sum((2, 3)).t() + 1e-8)
        else:
            norm = None
        x = x * style[:, :, None, None].to(x.dtype)
        if self.up:
            x = blur(F.conv_transpose2d(x, weight.to(x.dtype).transpose(0, 1), stride=2), gain=4.0)
        else:
            x = F.conv2d(x, weight.to(x.dtype), padding=weight.shape[-1] // 2)
        return x if norm is None else x * norm[:, :, None, None].to(x.dtype)


def blur(x: Tensor, pad: int = 1, gain: float = 1.0) -> Tensor:
    """The binomial filter [1, 3, 3, 1] in both directions: (B, C, H, W) -> (B, C, H + 2 pad - 3, W + 2 pad - 3)."""
    taps = constant((1.0, 3.0, 3.0, 1.0), x)
    kernel = torch.outer(taps, taps) * (gain / 64)
    channels = int(x.shape[1])  # a constant where `gen export` traces this
    return F.conv2d(x, kernel.expand(channels, 1, 4, 4), padding=pad, groups=channels)


def upsample(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W) with the filter [1, 3, 3, 1]: bilinear, with zero padding around the image."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear")[:, :, 2:-2, 2:-2]


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    noise: Tensor

    def __init__(
        self, inputs: int, outputs: int, size: int, w_dim: int, up: bool = False, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv(inputs, outputs, 3, w_dim, up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Features, w (B, w_dim), noise (1 or B, 1, size, size) or None -> (B, out, size, size)."""
        x = self.conv(x, w)
        if noise is not None:
            x = x + (noise * self.noise_strength).to(x.dtype)
        return clamped(leaky(x + self.bias.to(x.dtype)[:, None, None]), self.clamp)


class ToRGB(nn.Module):
    """Features -> this level's contribution to the RGB image: a modulated 1x1 convolution without demodulation."""

    def __init__(self, inputs: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.conv = ModulatedConv(inputs, 3, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, in, H, W), (B, w_dim) -> (B, 3, H, W), float32."""
        return clamped(full(self.conv(x, w)) + full(self.bias)[:, None, None], self.clamp)


class NoisyGenerator(ModelMixin, ConfigMixin):
    """A generator z -> w -> image whose convolutions add noise maps: what StyleGAN2 and MobileStyleGAN share."""

    mapping: MappingNetwork
    w_average: Tensor
    convs: nn.ModuleList
    """The convolutions, in order, each with its `noise`."""
    noise_sizes: list[int]

    @abstractmethod
    def synthesis(self, w: Tensor, noise: Noise = "fixed") -> Tensor:
        """w (B, w_dim), or one per layer (B, layers, w_dim) -> images (B, 3, size, size), nominally in [-1, 1]."""

    def forward(self, z: Tensor, truncation: float = 1.0, noise: Noise = "fixed") -> Tensor:
        """Latents (B, z_dim), standard normal -> images (B, 3, size, size), nominally in [-1, 1]."""
        return self.synthesis(self.truncated(self.mapping(z), truncation), noise)

    def truncated(self, w: Tensor, truncation: float) -> Tensor:
        """w (B, w_dim) -> w_average + truncation (w - w_average): 1 leaves w unchanged, 0 gives the average."""
        return w if truncation == 1 else torch.lerp(self.w_average.to(w.dtype), w, truncation)

    def noise_maps(self, noise: Noise, ws: Tensor) -> Sequence[Tensor | None]:
        """One map for each convolution, or None where it gets no noise."""
        if isinstance(noise, str):
            if noise == "random":
                return self.draw_noise(len(ws), device=ws.device)
            return [cast(Tensor, conv.noise) if noise == "fixed" else None for conv in self.convs]
        return noise

    def draw_noise(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> list[Tensor]:
        """Noise maps (count, 1, r, r), one for each convolution."""
        return [torch.randn(count, 1, r, r, generator=generator, device=device) for r in self.noise_sizes]

    def settings(self) -> dict[str, Any]:
        """Constructor arguments of a generator of this shape."""
        return {k: v for k, v in self.config.items() if not k.startswith("_")}


class StyleGAN2Generator(NoisyGenerator):
    """z -> w -> image. `channels` are those at 4, 8, 16, ... pixels; their number gives the image size.

    An image of size 2^k uses 2k - 2 copies of w: one per convolution, and one for the last toRGB (the other toRGBs
    share the w of the next convolution, as in the published code).
    """

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = config_f_channels(256),
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        conv_clamp: float | None = None,
    ) -> None:
        """`conv_clamp`: activations are at most so far from 0, as in networks that were trained in float16."""
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.size = 2 ** (len(channels) + 1)
        self.layers = 2 * len(channels)
        self.noise_sizes = [4, *(2**k for k in range(3, len(channels) + 2) for _ in range(2))]
        """Side of the noise map of each convolution, in pixels."""
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers)
        self.register_buffer("w_average", torch.zeros(w_dim))
        self.constant = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(channels[0], channels[0], 4, w_dim, clamp=conv_clamp)])
        self.to_rgbs = nn.ModuleList([ToRGB(channels[0], w_dim, conv_clamp)])
        for level, (before, after) in enumerate(pairwise(channels)):
            size = 8 * 2**level
            self.convs.append(StyledConv(before, after, size, w_dim, up=True, clamp=conv_clamp))
            self.convs.append(StyledConv(after, after, size, w_dim, clamp=conv_clamp))
            self.to_rgbs.append(ToRGB(after, w_dim, conv_clamp))

    def synthesis(self, w: Tensor, noise: Noise = "fixed") -> Tensor:
        """w (B, w_dim), or one per layer (B, layers, w_dim) -> images (B, 3, size, size), nominally in [-1, 1]."""
        ws = w.unsqueeze(1).expand(-1, self.layers, -1) if w.ndim == 2 else w
        maps = self.noise_maps(noise, ws)
        x = self.constant.expand(ws.shape[0], -1, -1, -1)  # `len` would be a constant where `gen export` traces this
        x = self.convs[0](x, ws[:, 0], maps[0])
        image = self.to_rgbs[0](x, ws[:, 1])
        for level in range(1, len(self.to_rgbs)):
            first = 2 * level - 1
            x = self.convs[first](x, ws[:, first], maps[first])
            x = self.convs[first + 1](x, ws[:, first + 1], maps[first + 1])
            image = upsample(image) + self.to_rgbs[level](x, ws[:, first + 2])
        return image


class EqualConv(nn.Module):
    """Convolution with equalised learning rate; `down` blurs, then halves the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, activate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if activate else None
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H, W), or half of the size with `down`."""
        weight = (self.weight * self.scale).to(x.dtype)
        kernel = weight.shape[-1]
        if self.down:
            x = F.conv2d(blur(x, pad=2 if kernel == 3 else 1), weight, stride=2)
        else:
            x = F.conv2d(x, weight, padding=kernel // 2)
        return x if self.bias is None else leaky(x + self.bias.to(x.dtype)[:, None, None])


class ResidualDown(nn.Module):
    """Residual block: two 3x3 convolutions beside one 1x1 convolution; halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualConv(inputs, inputs, 3)
        self.second = EqualConv(inputs, outputs, 3, down=True)
        self.skip = EqualConv(inputs, outputs, 1, down=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/2, W/2)."""
        # Both branches have unit variance; the division keeps it for their sum.
        return (self.second(self.first(x)) + self.skip(x)) / SQRT2


class StyleGAN2Discriminator(ModelMixin, ConfigMixin):
    """Image -> logit, large for a real image. `channels` are those at 4, 8, 16, ... pixels, as in the generator."""

    @register_to_config
    def __init__(self, channels: Sequence[int] = config_f_channels(256), group: int = 4) -> None:
        super().__init__()
        self.group = group
        top_down = list(channels)[::-1]
        self.from_rgb = EqualConv(3, top_down[0], 1)
        self.blocks = nn.ModuleList(ResidualDown(a, b) for a, b in pairwise(top_down))
        self.conv = EqualConv(channels[0] + 1, channels[0], 3)
        self.dense = EqualLinear(channels[0] * 16, channels[0])
        self.out = EqualLinear(channels[0], 1)

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, size, size) in [-1, 1] -> logits (B,), float32."""
        x = self.from_rgb(image)
        for block in self.blocks:
            x = block(x)
        x = self.conv(torch.cat([x, minibatch_stddev(x, self.group)], dim=1))
        return self.out(leaky(self.dense(x.flatten(1)))).squeeze(1)


def group_size(count: int, most: int) -> int:
    """Images in each group of a batch of `count`: the lesser of `count` and `most`, as in the published code.

    That code refuses a batch that does not divide into such groups. Here it gets the largest smaller groups of at least
    two, or else (a prime number of images) the whole batch: with one image a group there would be nothing to see.
    """
    wanted = min(count, most)
    divisors = [size for size in range(2, count + 1) if count % size == 0]
    return max((size for size in divisors if size <= wanted), default=min(divisors, default=1))


def minibatch_stddev(x: Tensor, group: int) -> Tensor:
    """Standard deviation within groups of images: (B, C, H, W) -> (B, 1, H, W), one number per group.

    It shows the discriminator when a generator draws the same image over and over (Karras et al. 2018). `group`: size
    of a group, see `group_size`.
    """
    size = group_size(len(x), group)
    y = x.float().reshape(size, -1, *x.shape[1:])
    spread = (y.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
    return spread.to(x.dtype).repeat(size)[:, None, None, None].expand(-1, 1, *x.shape[2:])
