"""DomainBed's augmentation, on a batch at once, with separate random numbers for each image."""

from collections.abc import Sequence

import kornia.enhance as enhance
import numpy as np
import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from torch import Tensor

from gen.tensors import on_device

SCALE = (0.7, 1.0)
"""Range of a crop's share of the image area."""
ASPECT = (3 / 4, 4 / 3)
JITTER = 0.3
"""Brightness, contrast and saturation are multiplied by 1 ± JITTER at most; hue is shifted by ± JITTER turns."""
GREY = 0.1
"""Probability of a grey image."""


def crop_box(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A crop (left, top, width, height) as shares of the image, as in torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = rng.uniform(*SCALE)
        aspect = np.exp(rng.uniform(*np.log(ASPECT)))
        width, height = float(np.sqrt(area * aspect)), float(np.sqrt(area / aspect))
        if width <= 1 and height <= 1:
            return float(rng.uniform(0, 1 - width)), float(rng.uniform(0, 1 - height)), width, height
    return 0.0, 0.0, 1.0, 1.0


def augment(images: Tensor, keys: Sequence[Sequence[int]]) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] -> augmented images; `keys`: the seed of each image.

    As DomainBed: RandomResizedCrop (area 0.7 to 1), horizontal flip, colour jitter 0.3, greyscale with probability
    0.1. Departures: the jitter's order is fixed (brightness, contrast, saturation, hue; random in DomainBed), and
    crops are taken from images that were already resized to a square.
    """
    # Seeded by image, not by batch: accumulation and the number of processes do not change an image.
    rngs = [np.random.default_rng(tuple(key)) for key in keys]
    images = resized_crop(images, [crop_box(rng) for rng in rngs], [bool(rng.random() < 0.5) for rng in rngs])
    factors = np.array([rng.uniform(-JITTER, JITTER, 4) for rng in rngs])
    brightness, contrast, saturation, hue = on_device(factors, images.device, images.dtype).unbind(1)
    images = enhance.adjust_brightness_accumulative(images, 1 + brightness)
    images = enhance.adjust_contrast_with_mean_subtraction(images, 1 + contrast)
    images = enhance.adjust_saturation_with_gray_subtraction(images, 1 + saturation)
    images = enhance.adjust_hue(images, hue * 2 * torch.pi)
    grey = on_device([bool(rng.random() < GREY) for rng in rngs], images.device).view(-1, 1, 1, 1)
    return torch.where(grey, rgb_to_grayscale(images).expand_as(images), images)


def resized_crop(images: Tensor, boxes: Sequence[tuple[float, float, float, float]], flips: Sequence[bool]) -> Tensor:
    """Resize each box (left, top, width, height, as shares) of its image (B, 3, H, W) to the image size, bilinear."""
    left, top, width, height = on_device(boxes, images.device, images.dtype).unbind(1)
    sign = on_device([-1.0 if flip else 1.0 for flip in flips], images.device, images.dtype)
    zero = torch.zeros_like(left)
    rows = [width * sign, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
