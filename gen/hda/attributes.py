"""Attributes of aligned faces, measured without any network: a check that does not depend on an encoder.

Each is one number per image, for faces cropped as the few-shot sets are: eyes a little above the middle.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from gen.media.resize import luma

Attribute = Callable[[Tensor], Tensor]


def colourfulness(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> mean distance of a pixel from its own grey, (B,), 0..255: low for a sketch."""
    x = (images.clamp(-1, 1) + 1) * 127.5
    return (x - x.mean(1, keepdim=True)).abs().mean((1, 2, 3)) * 1.5


def brightness(images: Tensor) -> Tensor:
    """Mean luma, (B,), 0..255: high for a drawing on white paper."""
    return grey_levels(images).mean((1, 2))


def eye_darkness(images: Tensor) -> Tensor:
    """Luma of the cheeks minus luma of the eyes, (B,), in units of 255: high for dark glasses."""
    x = grey_levels(images)
    height, width = x.shape[1:]

    def patch(top: float, bottom: float, sides: tuple[tuple[float, float], ...]) -> Tensor:
        rows = slice(round(top * height), round(bottom * height))
        return torch.stack([x[:, rows, round(a * width) : round(b * width)].mean((1, 2)) for a, b in sides]).mean(0)

    sides = ((0.25, 0.45), (0.55, 0.75))
    return patch(0.56, 0.68, sides) - patch(0.38, 0.50, sides)


def attribute_progress(before: Tensor, after: Tensor, references: Tensor) -> dict[str, float]:
    """Progress of each attribute from the source images to the references: 0 = as the source, 1 = as the references.

    Meaningless for an attribute in which source and references hardly differ.
    """
    means = {name: [float(m(x).mean()) for x in (before, after, references)] for name, m in ATTRIBUTES.items()}
    return {name: (end - start) / (goal - start) for name, (start, end, goal) in means.items()}


def grey_levels(images: Tensor) -> Tensor:
    """(B, 3, H, W) in [-1, 1] -> BT.601 luma (B, H, W), 0..255."""
    return luma((images.clamp(-1, 1) + 1) * 127.5)[:, 0]


ATTRIBUTES: dict[str, Attribute] = {
    "colourfulness": colourfulness,
    "brightness": brightness,
    "eye darkness": eye_darkness,
}
