"""Load StyleGAN2 generators of other projects, rosinality's .pt and NVlabs' .pkl, without running code from them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gen.errors import BadInput
from gen.formats.torch_files import TorchFile, is_torch
from gen.loading import loading
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.nvlabs import Snapshot, from_nvlabs, load_pickle, snapshot
from gen.stylegan2.rosinality import from_rosinality

G = TypeVar("G")


@loading
def load_stylegan2(path: Path) -> StyleGAN2Generator:
    """The averaged generator of a rosinality `.pt` or a StyleGAN2-ADA PyTorch `.pkl`; the content decides which.

    Of a generator of several classes, FILE.pkl:NUMBER is that of one, an unconditional generator with equal pictures.
    Raises `BadInput` for a file that is damaged or incomplete, that holds another kind of model, or that needs its own
    code. If the file has no average of w, it is computed from 10,000 latents; if a `.pt` has no noise maps, they are
    drawn with seed 0.
    """
    return load_by(path, from_nvlabs)


def load_by(path: Path, of_snapshot: Callable[[Snapshot, int | None], G]) -> StyleGAN2Generator | G:
    """As `load_stylegan2`; `of_snapshot` makes the generator of a `.pkl`, given the number of a class."""
    path, of_class = _split(path)
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    with path.open("rb") as file:
        if is_torch(file):
            return from_rosinality(TorchFile(path, file))
        if file.read(1) == b"\x80":
            file.seek(0)
            return of_snapshot(snapshot(path, load_pickle(path, file)), of_class)
    raise BadInput(f"{path}: this file is neither a rosinality .pt nor an NVlabs .pkl.")


def is_checkpoint(path: Path) -> bool:
    """Whether a name is that of a checkpoint of other projects, and not of a model folder."""
    return _split(path)[0].suffix in (".pt", ".pkl")


def _split(path: Path) -> tuple[Path, int | None]:
    """FILE.pkl:3 -> the file and the number of a class; None where the name has none."""
    match = None if path.is_file() else re.fullmatch(r"(.+\.pkl):(\d{1,6})", str(path), re.S)
    return (Path(match[1]), int(match[2])) if match else (path, None)
