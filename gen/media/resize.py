"""The door between pictures (uint8, height x width x 3) and networks (float, [-1, 1]), and sizes on both sides."""

import math

import torch
import torch.nn.functional as F
from kornia.filters import guided_blur
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) in 0..255 -> float32 in [-1, 1]."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Float (B, 3, H, W) in [-1, 1] -> uint8 in 0..255, rounded and clamped."""
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """(B, C, H, W) -> sides rounded up to `multiple`, filled at the bottom and right.

    Filled by reflection where the image is large enough for it, else by its last row and column. The inverse is
    `images[..., :H, :W]`.
    """
    height, width = images.shape[-2:]
    pad = (0, -width % multiple, 0, -height % multiple)
    if not any(pad):
        return images
    mode = "reflect" if pad[1] < width and pad[3] < height else "replicate"
    return F.pad(images, pad, mode=mode)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) -> (B, C, *size), bilinear, antialiased when it shrinks."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def transfer_change(native: Tensor, small: Tensor, translated: Tensor) -> Tensor:
    """Bring a translation made at a small size back to native size, along the edges of the native frame.

    What the network did, `translated - small` (B, 3, h, w), is fitted as a local linear function of the frame's
    luma (guided filter, He et al. 2013) and added to `native` (B, 3, H, W). So the fine detail of the native frame
    survives, and the colour change stops at its edges and not at the small grid's. Returns (B, 3, H, W) in [-1, 1].
    """
    size = tuple(native.shape[-2:])
    factor = max(1, round(size[0] / small.shape[-2]))
    change = F.interpolate(translated - small, size=size, mode="bilinear", align_corners=False)
    luma = (native * native.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    window = 2 * factor + 1
    change = guided_blur(luma, change, window, eps=1e-2, subsample=factor if math.log2(factor) > 1 else 1)
    return (native + change).clamp(-1, 1)
