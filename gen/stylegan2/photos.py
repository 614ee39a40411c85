"""Crop and resize photos to a generator's image size."""

from pathlib import Path

from torch import Tensor

from gen.media.images import Pixels, decode_still, middle_square
from gen.media.resize import resize, to_chw, to_float


def read_square(path: Path, size: int) -> Tensor:
    """The middle square of the picture at `path`, (3, size, size) in [-1, 1]. Raises `BadInput` for a broken file."""
    return fit_square(decode_still(path).rgb, size)


def fit_square(pixels: Pixels, size: int) -> Tensor:
    """(H, W, 3), uint8 -> its middle square, scaled to (3, size, size) in [-1, 1].

    Antialiased, so that a large photo becomes as sharp as the generator's images and not sharper.
    """
    cut = to_float(to_chw(middle_square(pixels))[None])
    return resize(cut, (size, size))[0].clamp(-1, 1).contiguous()
