"""Trivial translations that a trained one must beat: one gamma a frame, and histogram matching.

Both know the domain that they lead to by its mean histogram alone, its `tone`. Frames are uint8 (B, H, W, 3), RGB.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from gen.media.resize import LUMA

STEEPEST = 16.0
"""Gamma lies between 1/16 and 16: a frame that is all black cannot be brightened."""


def histograms(frames: Tensor) -> Tensor:
    """(B, H, W, 3) -> (B, 3, 256) float64: the share of a channel's pixels at each grey level."""
    count = frames.shape[0]
    offset = 256 * torch.arange(3 * count, device=frames.device).view(count, 1, 1, 3)
    counts = torch.bincount((frames + offset).flatten(), minlength=3 * 256 * count)
    return counts.view(count, 3, 256).double() / (frames.shape[1] * frames.shape[2])


def tone(batches: Iterable[Tensor]) -> Tensor:
    """Batches of frames -> their mean histogram (3, 256), every frame counting the same; sums to 1 by channel."""
    every = torch.cat([histograms(frames).cpu() for frames in batches])
    return every.mean(0)


def tone_luma(tone: Tensor) -> float:
    """The mean luma, 0 to 255, of frames of this tone."""
    return float(_mean_luma(tone[None], torch.arange(256.0, dtype=torch.float64).expand(1, 256)))


def gamma(frames: Tensor, tone: Tensor) -> Tensor:
    """255 (x / 255)^g with the one g of each frame that gives it the mean luma of `tone`, found by bisection."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    shares, wanted = histograms(frames).cpu(), tone_luma(tone)
    low, high = (torch.full((len(frames), 1), s, dtype=torch.float64) for s in (1 / STEEPEST, STEEPEST))
    for _ in range(40):
        middle = (low * high).sqrt()
        bright = _mean_luma(shares, 255 * levels**middle) > wanted
        low, high = torch.where(bright[:, None], middle, low), torch.where(bright[:, None], high, middle)
    curve = (255 * levels ** (low * high).sqrt()).round()
    return _look_up(frames, curve[:, None].expand(-1, 3, -1))


def match_histogram(frames: Tensor, tone: Tensor) -> Tensor:
    """Each channel of each frame through the curve that carries its cumulative histogram onto that of `tone`.

    Level v goes to where the cumulative histogram of `tone`, linear between the levels that occur, is as high as the
    frame's at v (as scikit-image's match_histograms).
    """
    reached = histograms(frames).cpu().cumsum(2).numpy()
    curves = np.empty_like(reached)
    for channel, shares in enumerate(tone.numpy()):
        levels = np.flatnonzero(shares)
        for frame, cumulative in enumerate(reached[:, channel]):
            curves[frame, channel] = np.interp(cumulative, np.cumsum(shares)[levels], levels)
    return _look_up(frames, torch.from_numpy(curves).round())


def _mean_luma(shares: Tensor, curves: Tensor) -> Tensor:
    """Histograms (B, 3, 256) seen through curves (B, 256) -> mean luma (B,)."""
    return (shares * curves[:, None]).sum(2) @ shares.new_tensor(LUMA)


def _look_up(frames: Tensor, curves: Tensor) -> Tensor:
    """Curves (B, 3, 256) of grey levels, applied channel by channel."""
    planes = frames.permute(0, 3, 1, 2).flatten(2).long()
    seen = curves.to(torch.uint8).to(frames.device).gather(2, planes)
    return seen.unflatten(2, frames.shape[1:3]).permute(0, 2, 3, 1).contiguous()
