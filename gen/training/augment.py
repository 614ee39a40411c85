"""DiffAugment: the same random changes for real and made images, through which gradients flow.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020 (arXiv 2006.10738). Colour,
translation by up to an eighth, and a hole of half of the side. Where it is used on both sides, the discriminator
cannot learn a small set by heart, and the changes do not leak into the samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

DRAWS = 7
"""Random numbers that an image takes."""


def diff_augment(images: Tensor, draws: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] and `draws` (B, DRAWS), uniform in [0, 1] -> changed images, perhaps beyond 1."""
    x = colour(images, draws[:, :3])
    x = translate(x, draws[:, 3:5])
    return cutout(x, draws[:, 5:7])


def colour(images: Tensor, draws: Tensor) -> Tensor:
    """Brightness by -0.5..0.5, then saturation by 0..2, then contrast by 0.5..1.5; `draws` (B, 3)."""
    bright, saturation, contrast = (d.view(-1, 1, 1, 1) for d in draws.unbind(1))
    x = images + (bright - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


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
