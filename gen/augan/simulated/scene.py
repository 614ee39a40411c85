"""What every simulated weather asks of a day frame: where each pixel lies, and where the sky is.

Places are in units of the frame's height: x from the middle to the right, y from the top down.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from kornia.filters import sobel
from torch import Tensor

from gen.augan.degrade import broad_gaussian, gaussian


class View(NamedTuple):
    """Where each pixel of a frame lies."""

    x: Tensor
    """(H, W), in heights from the middle."""
    y: Tensor
    """(H, W), in heights from the top."""

    def squared_distance(self, x: float, y: float) -> Tensor:
        """(H, W), from a point."""
        return (self.x - x) ** 2 + (self.y - y) ** 2


def look(height: int, width: int) -> View:
    """The places of a frame of this size."""
    y, x = torch.meshgrid(torch.arange(height) / height, (torch.arange(width) - width / 2) / height, indexing="ij")
    return View(x, y)


def sky_share(picture: Tensor) -> Tensor:
    """sRGB (3, H, W) in [0, 1] -> (1, H, W) in 0..1: bright, and open to the frame's upper edge or of the sky's colour.

    A pixel is open when little contrast lies between it and the edge above. A guess by brightness: it takes white walls
    for sky, which a night may leave dark as well.
    """
    height = picture.shape[-2]
    y = torch.arange(height)[:, None] / height
    grey = gaussian(rgb_to_grayscale(picture), 1.0)
    contrast = sobel(grey[None])[0]
    is_open = torch.exp(-25 * (contrast - 0.006).clamp_min(0).cumsum(-2))
    bright = torch.sigmoid((grey - 0.42) / 0.05)
    sky = is_open * bright * (y < 0.6)
    if sky.mean() < 0.01:
        return torch.zeros_like(grey)
    for _ in range(2):  # behind wires and branches: what has the colour of the sky around it
        near = broad_gaussian(sky, height / 12) + 1e-4
        colour = broad_gaussian(sky * picture, height / 12) / near
        distance = (picture - colour).square().sum(0, keepdim=True)
        alike = torch.exp(-distance / (2 * 0.12**2)) * (near > 0.02) * (y < 0.55)
        sky = torch.maximum(sky, alike * bright)
    return gaussian(F.max_pool2d(sky, 3, 1, 1), 0.8)  # and the seam, where a pixel is part sky
