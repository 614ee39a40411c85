"""The generator that MobileStyleGAN learns from, and the images that it has drawn."""

import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.errors import BadInput, BadSetting
from gen.formats.model_folders import load_part
from gen.loading import loading
from gen.media.resize import to_float, to_uint8
from gen.mobilestylegan.checkpoints import StyleGenerator, is_checkpoint, load_generator
from gen.output import check_room
from gen.stylegan2.training import latents
from gen.tensors import on_device
from gen.weights import fetch

DRAWN_AT_ONCE = 4
"""A teacher of 1024 pixels needs 1 GB for so many."""


@loading
def load_teacher(name: Path) -> StyleGenerator:
    """The generator of a model folder, of shipped weights, or of another project's file. Raises `BadSetting`."""
    try:
        if is_checkpoint(name):
            teacher = load_generator(name)
        else:
            folder = fetch(name)
            if any((folder / "adaptations").glob("*.safetensors")):
                raise BadInput(f"{folder}: this model is adapted; give its source, or the model.pt that --full writes.")
            teacher = load_part(folder, "generator")
    except BadInput as error:
        raise BadSetting(f"teacher: {error}") from error
    if not isinstance(teacher, StyleGenerator):
        raise BadSetting(f"teacher: {name} holds a {type(teacher).__name__}, which is not a StyleGAN generator.")
    nn.Module.requires_grad_(teacher, False)
    return teacher.eval()


class TeacherImages:
    """What the teacher draws for a seed, reduced to `size`. Each image is drawn when it is first needed, and kept.

    They lie in one file, so that a run that is resumed has them, and so that they need no memory.
    """

    def __init__(self, teacher: StyleGenerator, file: Path, count: int, size: int) -> None:
        """Seeds from 0 to `count` - 1. `file`: uint8 (count, 3, size, size); made if it is not there.

        Raises `BadInput` for a file of other images, and `BadSetting` if the disk has no room for it.
        """
        self.teacher, self.size = teacher, size
        drawn = file.with_stem(f"{file.stem}-drawn")
        if not file.is_file():  # then none is drawn, whatever an earlier file said
            drawn.unlink(missing_ok=True)
        self.images = _memory_map(file, (count, 3, size, size))
        self.drawn = _memory_map(drawn, (count,))

    def batch(self, seeds: list[int]) -> Tensor:
        """The images of these seeds, float32 (B, 3, size, size) in [-1, 1], on the teacher's device."""
        missing = [seed for seed in seeds if not self.drawn[seed]]
        for first in range(0, len(missing), DRAWN_AT_ONCE):
            some = missing[first : first + DRAWN_AT_ONCE]
            self.images[some] = to_uint8(self._draw(some)).cpu().numpy()
            self.drawn[some] = 1  # only now: an image that was cut off is drawn again
        return to_float(on_device(torch.from_numpy(self.images[seeds]), self.teacher.w_average.device))

    @torch.no_grad()
    def _draw(self, seeds: list[int]) -> Tensor:
        images = self.teacher(on_device(latents(seeds, self.teacher.z_dim), self.teacher.w_average.device))
        if images.shape[-1] == self.size:
            return images
        return F.interpolate(images.float(), size=(self.size, self.size), mode="bicubic", antialias=True)


def _memory_map(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A file of zeros, or what it holds. Raises `BadInput` if that has another shape, `BadSetting` on a full disk."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        check_room(file.parent, math.prod(shape))
        new = np.lib.format.open_memmap(file, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):  # a disk that is full later would kill the process at a write into the map
            with file.open("r+b") as reserved:
                os.posix_fallocate(reserved.fileno(), 0, file.stat().st_size)
        return new
    try:
        found = np.lib.format.open_memmap(file, "r+")
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: damaged ({error}); delete it, and its images are drawn again.") from error
    if found.shape != shape or found.dtype != np.uint8:
        raise BadInput(f"{file}: it holds other images than this run needs; delete it, and they are drawn again.")
    return found
