"""Load StyleGAN2 generators of other projects, rosinality's .pt and NVlabs' .pkl, without running code from them."""

from pathlib import Path

import torch

from gen.errors import BadInput
from gen.loading import loading
from gen.stylegan2.assembly import load_torch
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.nvlabs import from_nvlabs, load_pickle
from gen.stylegan2.rosinality import from_rosinality

TORCH_LEGACY = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")
"""Near the start of files that torch.save wrote before it switched to zip files."""


@loading
def load_stylegan2(path: Path) -> StyleGAN2Generator:
    """The averaged generator of a rosinality `.pt` or a StyleGAN2-ADA PyTorch `.pkl`; the content decides which.

    Raises `BadInput` for a file that is damaged or incomplete, that holds another kind of model, or that needs its own
    code. If the file has no average of w, it is computed from 10,000 latents; if a `.pt` has no noise maps, they are
    drawn with seed 0.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    with path.open("rb") as file:
        head = file.read(32)
        file.seek(0)
        if head.startswith(b"PK") or TORCH_LEGACY in head:
            return from_rosinality(path, load_torch(path, file))
        if head.startswith(b"\x80"):
            return from_nvlabs(path, load_pickle(path, file))
    raise BadInput(f"{path}: this file is neither a rosinality .pt nor an NVlabs .pkl.")
