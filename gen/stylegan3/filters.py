"""Low-pass filters of StyleGAN3, and resampling of feature maps by them.

Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021 (arXiv 2106.12423), section 3 and appendix C.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch.nn.functional as F
from scipy.signal import firwin, kaiser_atten, kaiser_beta
from scipy.special import j1
from torch import Tensor

from gen.tensors import constant

Taps = tuple[float, ...]
"""Taps of a filter that is applied along the rows and along the columns."""

IDENTITY: Taps = (1.0,)


@cache
def kaiser(count: int, cutoff: float, width: float, rate: float) -> Taps:
    """A sinc of this cutoff in a Kaiser window, for a transition band of this width; both as `rate`, per image."""
    taps: Any = firwin(count, cutoff, width=width, fs=rate)
    return tuple(taps.tolist())


@cache
def jinc(count: int, cutoff: float, width: float, rate: float) -> Taps:
    """The same with circular symmetry, for config R (appendix C.2): count x count taps, row after row.

    jinc(2 f_c |x|) times the window along both axes, with a sum of one.
    """
    x = (np.arange(count) - (count - 1) / 2) / rate
    radius = np.hypot(x[:, None], x[None, :])  # never 0: the number of taps is even
    window = np.kaiser(count, kaiser_beta(kaiser_atten(count, width / (rate / 2))))
    taps = j1(2 * math.pi * cutoff * radius) / radius * np.outer(window, window)
    return tuple((taps / taps.sum()).flatten().tolist())


def upsample(x: Tensor, taps: Taps, factor: int, before: int, after: int) -> Tensor:
    """(B, C, H, W) -> `factor` times as many samples, with `before` and `after` zeros at the sides, then filtered.

    Zeros stand between the samples; the filter takes len(taps) - 1 off, and its gain restores the signal's strength.
    """
    if len(taps) == 1:
        return F.pad(x, (before, after, before, after))
    kernel = (constant(taps, x) * factor).view(1, 1, 1, -1).expand(x.shape[1], -1, -1, -1)
    # A transposed convolution is the whole filtered signal without the zeros around it; it is cut or padded.
    start = before - (len(taps) - 1)
    end = after - (len(taps) - factor)
    x = F.pad(F.conv_transpose2d(x, kernel, stride=(1, factor), groups=x.shape[1]), (start, end, 0, 0))
    kernel = kernel.transpose(2, 3)
    return F.pad(F.conv_transpose2d(x, kernel, stride=(factor, 1), groups=x.shape[1]), (0, 0, start, end))


def downsample(x: Tensor, taps: Taps, factor: int, radial: bool = False) -> Tensor:
    """(B, C, H, W), filtered without padding -> every `factor`-th sample along both axes."""
    if len(taps) == 1:
        return x
    channels = x.shape[1]
    if radial:
        side = math.isqrt(len(taps))
        kernel = constant(taps, x).view(1, 1, side, side).expand(channels, -1, -1, -1)
        return F.conv2d(x, kernel, stride=factor, groups=channels)
    kernel = constant(taps, x).view(1, 1, 1, -1).expand(channels, -1, -1, -1)
    x = F.conv2d(x, kernel, stride=(1, factor), groups=channels)
    return F.conv2d(x, kernel.transpose(2, 3), stride=(factor, 1), groups=channels)
