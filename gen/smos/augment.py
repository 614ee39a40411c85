"""The augmentation of domain generalisation, for a batch at once, each picture by its own random numbers."""

from collections.abc import Sequence

import kornia.enhance as enhance
import numpy as np
import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from torch import Tensor

SCALE = (0.7, 1.0)
"""Share of the picture's area that a crop keeps."""
ASPECT = (3 / 4, 4 / 3)
JITTER = 0.3
"""Brightness, contrast and saturation are multiplied by 1 - JITTER to 1 + JITTER; hue turns by as many full turns."""
GREY = 0.1
"""Share of the pictures that lose their colour."""


def crop_box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A crop (left, top, width, height) as shares of the picture, as in torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = rng.uniform(*SCALE)
        aspect = np.exp(rng.uniform(*np.log(ASPECT)))
        width, height = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if width <= 1 and height <= 1:
            return float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height)), width, height
    return 0.0, 0.0, 1.0, 1.0


def augment(images: Tensor, keys: Sequence[Sequence[int]]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> the same, cropped, flipped, of other colours; `keys`: a seed for each.

    RandomResizedCrop (area .7 to 1), horizontal flip, colour jitter .3 (brightness, contrast, saturation, hue, in this
    order), grey in one of ten: what DomainBed does, but for the jitter's order, which is random there, and for crops
    being taken of pictures that are square already.
    """
    rngs = [np.random.default_rng(tuple(key)) for key in keys]
    images = resized_crop(images, [crop_box(rng) for rng in rngs], [bool(rng.random() < 0.5) for rng in rngs])
    factors = torch.tensor(np.array([rng.uniform(-JITTER, JITTER, 4) for rng in rngs]), dtype=images.dtype)
    brightness, contrast, saturation, hue = factors.to(images.device).unbind(1)
    images = enhance.adjust_brightness_accumulative(images, 1 + brightness)
    images = enhance.adjust_contrast_with_mean_subtraction(images, 1 + contrast)
    images = enhance.adjust_saturation_with_gray_subtraction(images, 1 + saturation)
    images = enhance.adjust_hue(images, hue * 2 * torch.pi)
    grey = torch.tensor([rng.random() < GREY for rng in rngs], device=images.device).view(-1, 1, 1, 1)
    return torch.where(grey, rgb_to_grayscale(images).expand_as(images), images)


def resized_crop(images: Tensor, boxes: Sequence[tuple[float, float, float, float]], flips: Sequence[bool]) -> Tensor:
    """Each box (left, top, width, height, shares) of its image (B, 3, H, W), bilinear, at the size of the image."""
    left, top, width, height = torch.tensor(boxes, dtype=images.dtype, device=images.device).unbind(1)
    sign = torch.tensor([-1.0 if flip else 1.0 for flip in flips], dtype=images.dtype, device=images.device)
    zero = torch.zeros_like(left)
    rows = [width * sign, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
