"""Random translation and cutout: differentiable, on the device (two parts of DiffAugment).

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738). The random
numbers are arguments, so that two calls can make the same change.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def translate(images: Tensor, draws: Tensor, share: float = 0.125) -> Tensor:
    """Shift by whole pixels, up to `share` of each side, filled with zeros. `draws` (B, 2) in [0, 1): row, column."""
    height, width = images.shape[2:]
    limits = (int(height * share + 0.5), int(width * share + 0.5))
    padded = F.pad(images, (limits[1], limits[1], limits[0], limits[0])).permute(0, 2, 3, 1)
    # Index tensors rather than slices, whose bounds would have to be copied from the GPU first.
    rows, columns = (
        torch.arange(size, device=images.device) + (draw * (2 * r + 1)).long().clamp_max(2 * r).unsqueeze(1)
        for size, r, draw in zip((height, width), limits, draws.unbind(1), strict=True)
    )
    each = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    return padded[each, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def cutout(images: Tensor, draws: Tensor, share: float = 0.5) -> Tensor:
    """Zero a box of `share` of each side, centred anywhere in the image. `draws` (B, 2) in [0, 1): row, column.

    As in the published code: a box with an even side may be centred between any two pixels and on both edges.
    """
    masks: list[Tensor] = []
    for size, draw in zip(images.shape[2:], draws.unbind(1), strict=True):
        side = int(size * share + 0.5)
        places = size + 1 - side % 2
        first = ((draw * places).floor().clamp_max(places - 1) - side // 2).unsqueeze(1)
        positions = torch.arange(size, device=images.device)
        masks.append((positions >= first) & (positions < first + side))
    inside = masks[0].unsqueeze(2) & masks[1].unsqueeze(1)
    return images.masked_fill(inside.unsqueeze(1), 0.0)
