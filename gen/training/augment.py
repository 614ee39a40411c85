"""Random translation and cutout, on the device, through which gradients flow (two parts of DiffAugment).

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738). The random
numbers are given, so that both sides of a loss can take the same changes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def translate(images: Tensor, draws: Tensor, share: float = 0.125) -> Tensor:
    """Move by up to `share` of each side, whole pixels, zeros behind; `draws` (B, 2)."""
    height, width = images.shape[2:]
    reach = (int(height * share + 0.5), int(width * share + 0.5))
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0])).permute(0, 2, 3, 1)
    # By index and not by slices, which would have to wait for a GPU to say where.
    rows, columns = (
        torch.arange(size, device=images.device) + (draw * (2 * r + 1)).long().clamp_max(2 * r).unsqueeze(1)
        for size, r, draw in zip((height, width), reach, draws.unbind(1), strict=True)
    )
    each = torch.arange(len(images), device=images.device).view(-1, 1, 1)
    return padded[each, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


def cutout(images: Tensor, draws: Tensor, share: float = 0.5) -> Tensor:
    """Zeros in a box of `share` of each side, centred anywhere in the picture; `draws` (B, 2)."""
    masks: list[Tensor] = []
    for size, draw in zip(images.shape[2:], draws.unbind(1), strict=True):
        places = torch.arange(size, device=images.device)
        centre = (draw * size).floor().unsqueeze(1)
        masks.append((places - centre + 0.5).abs() < share * size / 2)
    inside = masks[0].unsqueeze(2) & masks[1].unsqueeze(1)
    return images.masked_fill(inside.unsqueeze(1), 0.0)
