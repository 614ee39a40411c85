"""Load any generator that `gen adapt` works with, of other projects too, without running code from the files."""

from pathlib import Path

from gen.mobilestylegan.networks import MobileStyleGANGenerator
from gen.mobilestylegan.wheel import is_wheel, load_wheel
from gen.stylegan2 import checkpoints as of_stylegan2
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan3 import checkpoints as of_stylegan3
from gen.stylegan3.networks import StyleGAN3Generator

StyleGenerator = StyleGAN2Generator | StyleGAN3Generator | MobileStyleGANGenerator
"""What `gen adapt`, `gen generate` and `gen invert` work with."""


def load_generator(path: Path) -> StyleGenerator:
    """The generator of a StyleGAN2 or StyleGAN3 file, see `gen.stylegan3.checkpoints`, or of random-face's wheel.

    Raises `BadInput`.
    """
    return load_wheel(path) if is_wheel(path) else of_stylegan3.load_generator(path)


def is_checkpoint(path: Path) -> bool:
    """Whether a name is that of a file of other projects, and not of a model folder."""
    return is_wheel(path) or of_stylegan2.is_checkpoint(path)
