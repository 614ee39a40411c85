"""Pixel coordinates and sky segmentation of a day frame, for all simulated weathers.

Coordinates are in units of the frame's height: x from the centre to the right, y from the top down.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from kornia.filters import sobel
from torch import Tensor

from gen.augan.degrade import broad_gaussian, gaussian


class View(NamedTuple):
    """Coordinates of the pixels of a frame."""

    x: Tensor
    """(H, W), in frame heights from the centre."""
    y: Tensor
    """(H, W), in frame heights from the top."""

    def squared_distance(self, x: float, y: float) -> Tensor:
        """Squared distance (H, W) of each pixel from a point."""
        return (self.x - x) ** 2 + (self.y - y) ** 2


def view_of(height: int, width: int) -> View:
    """The coordinates of a frame of this size."""
    y, x = torch.meshgrid(torch.arange(height) / height, (torch.arange(width) - width / 2) / height, indexing="ij")
    return View(x, y)


def sky_share(picture: Tensor) -> Tensor:
    """sRGB (3, H, W) in [0, 1] -> soft sky mask (1, H, W) in 0..1.

    Sky pixels are bright, and either connected to the upper edge with little contrast in between, or of the colour of
    the sky around them. It takes some white walls for sky, which does little harm: a wall may be dark at night too.
    The constants were tuned by eye on dash-cam frames.
    """
    height = picture.shape[-2]
    y = torch.arange(height)[:, None] / height
    grey = gaussian(rgb_to_grayscale(picture), 1.0)
    contrast = sobel(grey[None])[0]
    is_open = torch.exp(-25 * (contrast - 0.006).clamp_min(0).cumsum(-2))
    bright = torch.sigmoid((grey - 0.42) / 0.05)
    sky = is_open * bright * (y < 0.6)
    if sky.mean() < 0.01:
        return torch.zeros_like(grey)  # too little sky to know its colour
    for _ in range(2):  # sky behind wires and branches, by the colour of the sky nearby
        near = broad_gaussian(sky, height / 12) + 1e-4
        colour = broad_gaussian(sky * picture, height / 12) / near
        distance = (picture - colour).square().sum(0, keepdim=True)
        similar = torch.exp(-distance / (2 * 0.12**2)) * (near > 0.02) * (y < 0.55)
        sky = torch.maximum(sky, similar * bright)
    return gaussian(F.max_pool2d(sky, 3, 1, 1), 0.8)  # include the border, where pixels are partly sky
