"""Build a generator from the tensors of another project's checkpoint: what the readers of all formats share."""

import argparse
import pickle
import re
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.stylegan2.networks import StyleGAN2Generator

Weights = dict[str, Tensor]

MOST_LEVELS = 9
"""Resolutions from 4 to 1024 pixels."""

LATENTS = 10_000
"""Latents whose w are averaged where a file has no average of w."""


def load_torch(path: Path, file: IO[bytes]) -> Any:
    """Read what torch.save wrote, without running code from it. Raises `BadInput`.

    argparse.Namespace is allowed, because rosinality's trainer stores its options in one.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise (forbidden(path, found[1]) if found else damaged(path, error)) from error
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise damaged(path, error) from error


def forbidden(path: Path, name: str) -> BadInput:
    """The error for a file that asks for a class or function that is not allowed."""
    return BadInput(
        f"{path}: this file tries to load {name}, which is refused because it could run code; "
        "a rosinality .pt or a StyleGAN2-ADA PyTorch .pkl does not need it."
    )


def damaged(path: Path, error: Exception) -> BadInput:
    """The error for a file that cannot be read; `error` is what the reader raised."""
    return BadInput(f"{path}: this file is damaged, or not a StyleGAN2 checkpoint ({type(error).__name__}).")


def count_indices(pattern: str, names: dict[str, Any]) -> int:
    """How many different numbers the group of `pattern` matches among the names."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def prefixed(ours: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    """`names`, with the prefix `ours` before each key and `theirs` before each value."""
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def rename(path: Path, theirs: dict[str, Any], names: dict[str, str], ignored: str) -> Weights:
    """The tensors under our names.

    Raises `BadInput` where one is missing, or where others are left whose names do not end in `ignored`.
    """
    missing = [name for name in names.values() if not _sound(theirs.get(name))]
    if missing:
        raise BadInput(f"{path}: {len(missing)} of the generator's tensors are missing, for example {missing[0]}.")
    surplus = theirs.keys() - set(names.values())
    unknown = sorted(name for name in surplus if not name.endswith(ignored))
    if unknown:
        raise BadInput(
            f"{path}: {len(unknown)} tensors do not belong to a StyleGAN2 generator, for example {unknown[0]}."
        )
    return {ours: theirs[name].detach() for ours, name in names.items()}


def _sound(x: Any) -> bool:
    """Whether x is a dense floating-point tensor on the CPU.

    All its numbers must be in the file: strides of zero would let a small file describe a tensor of any size.
    """
    ordinary = isinstance(x, Tensor) and x.layout == torch.strided and x.device.type == "cpu" and x.is_floating_point()
    return ordinary and x.untyped_storage().nbytes() >= x.nbytes


def build_generator(path: Path, weights: Weights) -> StyleGAN2Generator:
    """The generator that the shapes of `weights` describe, with these weights. Raises `BadInput`."""
    mapping_layers = count_indices(r"mapping\.layers\.(\d+)", weights)
    if not mapping_layers:
        raise BadInput(f"{path}: the generator has no mapping network.")
    levels = range(count_indices(r"to_rgbs\.(\d+)", weights))
    if len(levels) > MOST_LEVELS:
        raise BadInput(
            f"{path}: its images would be {4 * 2 ** (len(levels) - 1)} pixels wide; at most 1024 can be loaded."
        )
    with torch.device("meta"):  # allocate nothing before all shapes are known to agree
        generator = StyleGAN2Generator(
            tuple(_length(path, weights, f"convs.{2 * j}.conv.weight", -4) for j in levels),
            z_dim=_length(path, weights, "mapping.layers.0.weight", -1),
            w_dim=_length(path, weights, "convs.0.conv.affine.weight", -1),
            mapping_layers=mapping_layers,
        )
    shapes = {name: tensor.shape for name, tensor in generator.state_dict().items()}
    fitted = {name: _fitted(path, name, tensor, shapes[name]) for name, tensor in weights.items()}
    _fill(generator, fitted)
    return generator.eval()


def _length(path: Path, weights: Weights, name: str, axis: int) -> int:
    """One dimension of a tensor."""
    shape = weights[name].shape
    if len(shape) < -axis or 0 in shape:
        raise BadInput(f"{path}: {name} has the shape {list(shape)}, which no StyleGAN2 generator has.")
    return shape[axis]


def _fitted(path: Path, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """The tensor as float32 in our shape; the formats differ in dimensions of length one only."""
    if [n for n in tensor.shape if n != 1] != [n for n in shape if n != 1]:
        found = list(tensor.shape)
        raise BadInput(f"{path}: {name} has the shape {found}, but the other tensors need {list(shape)}.")
    return tensor.float().reshape(shape).contiguous()


@torch.no_grad()
def _fill(generator: StyleGAN2Generator, weights: Weights) -> None:
    """Load the weights. What a file may lack, noise maps and the average of w, is made from a fixed seed."""
    random = torch.Generator().manual_seed(0)
    maps = {f"convs.{k}.noise": x for k, x in enumerate(generator.draw_noise(1, random))}
    generator.load_state_dict(maps | {"w_average": torch.zeros(generator.w_dim)} | weights, assign=True)
    if "w_average" not in weights:
        z = torch.randn(LATENTS, generator.z_dim, generator=random)
        generator.w_average.copy_(generator.mapping(z).mean(0))
