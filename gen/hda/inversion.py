"""What finds the latents of a photo: an optimiser, and where there is one, an encoder that says where to begin."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import InvertSettings
from gen.media.images import decode_still
from gen.metrics.paired import load_perceptual
from gen.provenance import fingerprint_file
from gen.stylegan2.photo_encoder import SIDE, PhotoEncoder
from gen.stylegan2.photos import fit_square
from gen.stylegan2.projector import project
from gen.stylegan2.psp import load_photo_encoder


class Photo(NamedTuple):
    """A photo to invert."""

    path: Path
    square: Tensor
    """(3, size, size) in [-1, 1], at the generator's size."""
    seen: Tensor
    """(3, 256, 256) in [-1, 1], at the size that encoders see."""

    @classmethod
    def read(cls, path: Path, size: int) -> "Photo":
        """Raises `BadInput` for a broken file."""
        # Enlarged from a small generator's size, the photo would lack what the encoder looks at.
        pixels = decode_still(path).rgb
        return cls(path, fit_square(pixels, size), fit_square(pixels, SIDE))


class Inverter(NamedTuple):
    """Finds latents as the settings say."""

    settings: InvertSettings
    perceptual: nn.Module
    encoder: PhotoEncoder | None
    """None: the search begins at the mean of w."""
    origin: str
    """Which encoder that is, for the mark of a picture; empty without one."""

    @classmethod
    def load(cls, pipe: HDAPipeline, settings: InvertSettings) -> "Inverter":
        """On the pipeline's device. Raises `BadInput` for an encoder that cannot be used with the generator."""
        perceptual = load_perceptual().to(pipe.device)
        if (file := settings.encoder) is None:
            return cls(settings, perceptual, None, "")
        encoder = load_photo_encoder(file, pipe.generator).to(pipe.device)
        return cls(settings, perceptual, encoder, f"encoder {file.name} {fingerprint_file(file)}")

    def latents(self, pipe: HDAPipeline, photo: Photo, progress: Callable[[float], object]) -> Tensor:
        """w of a photo in the generator as it is now: (layers, w_dim) for W+, (w_dim,) for W.

        `progress`: as in `project`.
        """
        s, start = self.settings, None
        if self.encoder is not None:
            with torch.no_grad():
                start = self.encoder(photo.seen[None].to(pipe.device))
        image = photo.square[None].to(pipe.device)
        return project(
            pipe.generator, image, self.perceptual, s.steps, s.extended, seed=s.seed, progress=progress, start=start
        )[0]

    def found_in(self, photo: str) -> str:
        """As `found_in`, with these settings."""
        return found_in(photo, self.settings.steps, self.settings.extended, self.settings.seed, self.origin)


MEAN = "mean of"
"""Begins what stands for the fingerprint of a person: the mean of some photos' latents."""


def found_in(photo: str, steps: int, extended: bool = True, seed: int = 0, encoder: str = "") -> str:
    """For the mark: how the latents of a photo with this fingerprint were found; defaults as those of `project`.

    `photo` may also be the mean of some, see `MEAN`.
    """
    what = photo if photo.startswith(MEAN) else f"photo {photo}"
    begun = f" by {encoder} and" if encoder and steps else f" by {encoder}" if encoder else ""
    searched = f" in {steps} steps, seed {seed}" if steps or not encoder else ""
    return f"{what} inverted into {'W+' if extended else 'W'}{begun}{searched}"
