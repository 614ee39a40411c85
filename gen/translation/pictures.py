"""The pictures that a pipeline takes in Python, as frames, and its results in the form that was asked for."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gen.errors import BadInput
from gen.media.images import decode_still, from_pil

Picture = Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str]
"""Paths, PIL images, arrays (H, W, 3) or (H, W), tensors (3, H, W); uint8 in 0..255 or float in [0, 1]."""
PictureType = Literal["pil", "np", "pt"]


def to_frames(images: Picture | Sequence[Picture]) -> list[Tensor]:
    """Whatever a pipeline takes -> uint8 tensors (H, W, 3). Raises `BadInput` for anything else."""
    if isinstance(images, Tensor | np.ndarray) and images.ndim == 4:
        images = list(images)
    if isinstance(images, Image.Image | Tensor | np.ndarray | str | os.PathLike):
        images = [images]
    return [_to_frame(image) for image in images]


def _to_frame(image: Picture) -> Tensor:
    if isinstance(image, str | os.PathLike):
        pixels = decode_still(Path(image)).rgb
    elif isinstance(image, Image.Image):
        pixels = from_pil(image).rgb
    elif isinstance(image, Tensor):
        image = image.detach().cpu() if image.dtype == torch.uint8 else image.detach().float().cpu()
        pixels = image.permute(1, 2, 0).numpy() if image.ndim == 3 else image.numpy()
    else:
        pixels = image
    if pixels.ndim == 2:
        pixels = pixels[..., None].repeat(3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise BadInput(f"images must be arrays (H, W, 3) or tensors (3, H, W), not {tuple(pixels.shape)}.")
    if np.issubdtype(pixels.dtype, np.floating):
        # Filters overshoot a little. Beyond that it is another range, of which clipping would make a white picture.
        if not (pixels.min() >= -0.5 and pixels.max() <= 1.5):
            raise BadInput(f"images of floats must be in [0, 1], not from {pixels.min():g} to {pixels.max():g}.")
        pixels = (np.clip(pixels, 0, 1) * 255).round()
    elif pixels.dtype != np.uint8:
        raise BadInput(f"images must be uint8 in 0..255 or float in [0, 1], not {pixels.dtype}.")
    return torch.from_numpy(np.array(pixels, dtype=np.uint8))  # a copy: PIL's memory is read-only


def in_batches(frames: Sequence[Tensor], batch_size: int) -> list[Tensor]:
    """Batches (B, H, W, 3) of up to `batch_size` neighbours of equal size, in order."""
    batches: list[list[Tensor]] = []
    for frame in frames:
        if batches and len(batches[-1]) < batch_size and batches[-1][0].shape == frame.shape:
            batches[-1].append(frame)
        else:
            batches.append([frame])
    return [torch.stack(batch) for batch in batches]


def from_uint8(frame: Tensor, output_type: PictureType) -> Any:
    """A frame (H, W, 3) as a PIL image, an array (H, W, 3), or a float tensor (3, H, W) in [0, 1]."""
    if output_type == "pt":
        return frame.permute(2, 0, 1).float() / 255
    return Image.fromarray(frame.numpy()) if output_type == "pil" else frame.numpy()
