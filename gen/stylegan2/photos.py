"""Photos as a generator's own images are: square and of its size."""

from pathlib import Path

import torch
from torch import Tensor

from gen.media.images import decode_still
from gen.media.resize import resize, to_float


def read_square(path: Path, size: int) -> Tensor:
    """The middle square of the picture at `path`, (3, size, size) in [-1, 1]. Raises `BadInput` for a broken file."""
    return middle_square(torch.from_numpy(decode_still(path).rgb).permute(2, 0, 1), size)


def middle_square(image: Tensor, size: int) -> Tensor:
    """uint8 (3, H, W) -> its middle square, scaled to (3, size, size) in [-1, 1].

    Antialiased, so that a large photo becomes as sharp as the generator's images and not sharper.
    """
    side = min(image.shape[1:])
    top, left = ((have - side) // 2 for have in image.shape[1:])
    cut = to_float(image[None, :, top : top + side, left : left + side])
    return resize(cut, (size, size))[0].clamp(-1, 1).contiguous()
