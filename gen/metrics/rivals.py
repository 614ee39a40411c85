"""Trivial baselines that a trained model must beat: one gamma per frame, and histogram matching.

All they know of the target domain is its mean histogram, the `tone`. Frames are uint8 (B, H, W, 3), RGB.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from gen.media.resize import LUMA
from gen.tensors import constant

MAX_GAMMA = 16.0
"""Gamma lies between 1/16 and 16. The search needs bounds, because no gamma brightens an all-black frame."""


def histograms(frames: Tensor) -> Tensor:
    """Frames (B, H, W, 3) -> (B, 3, 256) float64: the share of each channel's pixels at each grey level."""
    count = frames.shape[0]
    offset = 256 * torch.arange(3 * count, device=frames.device).view(count, 1, 1, 3)
    counts = torch.bincount((frames + offset).flatten(), minlength=3 * 256 * count)
    return counts.view(count, 3, 256).double() / (frames.shape[1] * frames.shape[2])


def tone(batches: Iterable[Tensor]) -> Tensor:
    """Batches of frames -> their mean histogram (3, 256), with equal weight per frame; each channel sums to 1."""
    every = torch.cat([histograms(frames).cpu() for frames in batches])
    return every.mean(0)


def tone_luma(tone: Tensor) -> float:
    """The mean luma, 0 to 255, of frames of this tone."""
    return float(_mean_luma(tone[None], torch.arange(256.0, dtype=torch.float64).expand(1, 256)))


def gamma(frames: Tensor, tone: Tensor) -> Tensor:
    """255 (x / 255)^g, with g per frame such that its mean luma is that of `tone`; g is found by bisection."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares, wanted = histograms(frames).cpu(), tone_luma(tone)
    low, high = (torch.full((len(frames), 1), s, dtype=torch.float64) for s in (1 / MAX_GAMMA, MAX_GAMMA))
    for _ in range(40):  # halves log(16) - log(1/16) to 5e-12
        middle = (low * high).sqrt()
        bright = _mean_luma(shares, 255 * levels**middle) > wanted
        low, high = torch.where(bright[:, None], middle, low), torch.where(bright[:, None], high, middle)
    curve = (255 * levels ** (low * high).sqrt()).round()
    return _look_up(frames, curve[:, None].expand(-1, 3, -1))


def match_histogram(frames: Tensor, tone: Tensor) -> Tensor:
    """Map each channel of each frame so that its cumulative histogram becomes that of `tone`.

    Level v maps to the level at which the cumulative histogram of `tone`, linear between the levels that occur, equals
    the frame's at v (as in scikit-image's match_histograms).
    """
    reached = histograms(frames).cpu().cumsum(2).numpy()
    curves = np.empty_like(reached)
    for channel, shares in enumerate(tone.numpy()):
        levels = np.flatnonzero(shares)
        for frame, cumulative in enumerate(reached[:, channel]):
            curves[frame, channel] = np.interp(cumulative, np.cumsum(shares)[levels], levels)
    return _look_up(frames, torch.from_numpy(curves).round())


def _mean_luma(shares: Tensor, curves: Tensor) -> Tensor:
    """Mean luma (B,) of frames with histograms (B, 3, 256) after curves (B, 256)."""
    return (shares * curves[:, None]).sum(2) @ constant(LUMA, shares)


def _look_up(frames: Tensor, curves: Tensor) -> Tensor:
    """Apply curves (B, 3, 256) of grey levels to the frames, channel by channel."""
    planes = frames.permute(0, 3, 1, 2).flatten(2).long()
    mapped = curves.to(torch.uint8).to(frames.device).gather(2, planes)
    return mapped.unflatten(2, frames.shape[1:3]).permute(0, 2, 3, 1).contiguous()
