"""Luma, and how well a translation keeps the edges of its source frame."""

import torch.nn.functional as F
from kornia.filters import sobel
from torch import Tensor

from gen.media.resize import luma, resize


def luma_of_frames(frames: Tensor) -> Tensor:
    """Frames (B, H, W, 3), uint8, RGB -> BT.601 luma (B, 1, H, W), float32, 0 to 255."""
    return luma(frames.permute(0, 3, 1, 2).float())


def edge_correlation(frames: Tensor, others: Tensor, height: int = 256) -> Tensor:
    """Structure kept, (B,): 1 for the same edges, 0 for unrelated ones (two random dash-cam frames have 0.05).

    Pearson correlation over the pixels of two frames' edge strength. Frames (B, H, W, 3), uint8, are reduced to at
    most `height` rows of luma. Edge strength is the Sobel magnitude divided by the image's own 99th percentile (at
    least one grey level), clipped at 1. So brightness and contrast do not matter, only the positions and relative
    strengths of edges. Removing a lamp, even rightly, lowers it. (SSIM of the same maps counts empty areas as similar:
    0.3 for two random night frames.)
    """
    a, b = (_edges(luma_of_frames(x), height).flatten(1).double() for x in (frames, others))
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    return F.cosine_similarity(a, b, dim=1)


def _edges(grey: Tensor, height: int) -> Tensor:
    scale = min(1.0, height / grey.shape[-2])
    strength = sobel(resize(grey, (round(grey.shape[-2] * scale), round(grey.shape[-1] * scale))))
    top = strength.flatten(1).quantile(0.99, dim=1).clamp_min(1.0)
    return (strength / top.view(-1, 1, 1, 1)).clamp_max(1.0)
