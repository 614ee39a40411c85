"""Run a network on a frame that does not fit into the device's memory: strip by strip, with whole-frame statistics.

InstanceNorm ties every pixel to every other, so independent tiles differ from the whole frame by tens of grey
levels. Here the feature maps stay in host memory, and only the current piece is on the device: a convolution takes a
strip of rows with the neighbouring rows that it needs, and a normalisation takes whole channels. The result equals the
whole frame's, up to the rounding of sums.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.tensors import spatial_moments
from gen.translation.norm import InstanceNorm

CHANNELS_AT_ONCE = 8
"""A norm or an activation takes so many whole channels at a time: few enough for any device's memory."""

Run = Callable[[nn.Module, Tensor], Tensor]
"""What a part of a network makes of its input on the CPU."""


@runtime_checkable
class InStrips(Protocol):
    """A module of several parts that says how they follow each other, such as a residual block."""

    def in_strips(self, x: Tensor, run: Run) -> Tensor:
        """As `forward`, with each part run by `run(part, x)`."""
        ...


def run_in_strips(module: nn.Module, x: Tensor, rows: int, device: torch.device) -> Tensor:
    """As `module(x)`, with at most `rows` rows of a convolution's output on `device` at a time.

    `x` (B, C, H, W) and the result are on the CPU. `module`: a Sequential, an `InStrips`, a convolution, a norm in
    evaluation, or something that works on each channel by itself.
    """

    def run(part: nn.Module, y: Tensor) -> Tensor:
        return run_in_strips(part, y, rows, device)

    if isinstance(module, nn.Sequential):
        for child in module:
            x = run(child, x)
        return x
    if isinstance(module, InStrips):
        return module.in_strips(x, run)
    if isinstance(module, nn.Conv2d):
        return _collect(_conv_strips(module, x, rows, device))
    if isinstance(module, nn.ConvTranspose2d):
        return _collect(_deconv_strips(module, x, rows, device))
    if isinstance(module, InstanceNorm):
        return _normalise(module, x, device)
    if isinstance(module, nn.BatchNorm2d):  # its statistics are fixed, so any rows will do, but all channels
        return torch.cat([module(part.to(device)).cpu() for part in x.split(rows, dim=2)], dim=2)
    return torch.cat([module(part.to(device)).cpu() for part in x.split(CHANNELS_AT_ONCE, dim=1)], dim=1)


def _collect(strips: Iterator[Tensor]) -> Tensor:
    return torch.cat([strip.cpu() for strip in strips], dim=2)


def _conv_strips(conv: nn.Conv2d, x: Tensor, rows: int, device: torch.device) -> Iterator[Tensor]:
    """Strips of rows of conv(x): each from the input rows it sees, zeros where those lie outside the frame."""
    height, kernel, stride = x.shape[2], conv.kernel_size[0], conv.stride[0]
    pad_y, pad_x = (int(p) for p in conv.padding)
    out_height = (height + 2 * pad_y - kernel) // stride + 1
    for top in range(0, out_height, rows):
        bottom = min(top + rows, out_height)
        first, last = top * stride - pad_y, (bottom - 1) * stride - pad_y + kernel
        strip = x[:, :, max(first, 0) : min(last, height)].to(device)
        strip = F.pad(strip, (pad_x, pad_x, max(-first, 0), max(last - height, 0)))
        yield F.conv2d(strip, conv.weight, conv.bias, stride=conv.stride, groups=conv.groups)


def _deconv_strips(conv: nn.ConvTranspose2d, x: Tensor, rows: int, device: torch.device) -> Iterator[Tensor]:
    """Strips of the transposed 3x3 stride-2 convolution: output rows 2i and 2i+1 come from input rows i and i+1."""
    half = max(1, rows // 2)
    for top in range(0, x.shape[2], half):
        bottom = min(top + half, x.shape[2])
        strip: Callable[[Tensor], Tensor] = conv
        yield strip(x[:, :, top : bottom + 1].to(device))[:, :, : 2 * (bottom - top)]


def _normalise(norm: InstanceNorm, x: Tensor, device: torch.device) -> Tensor:
    parts = x.split(CHANNELS_AT_ONCE, dim=1)
    var, mean = (torch.cat(s, dim=1) for s in zip(*(spatial_moments(p.to(device)) for p in parts), strict=True))
    scale, shift = (s.cpu() for s in norm.affine(var, mean))
    return torch.addcmul(shift, x, scale, out=x)
