"""Build a generator from the tensors of another project's checkpoint: what the readers of all formats share."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.stylegan2.networks import StyleGAN2Generator

Weights = dict[str, Tensor]

MOST_LEVELS = 9
"""Resolutions from 4 to 1024 pixels."""

MOST_LAYERS = 64
"""Layers of the mapping network. Published ones have 8."""

WIDEST = 4096
"""Channels, and dimensions of z and w. Published generators have 512; `LATENTS` z of this width take 160 MB."""

LATENTS = 10_000
"""Latents whose w are averaged where a file has no average of w."""


def count_indices(pattern: str, names: dict[str, Any]) -> int:
    """How many different numbers the group of `pattern` matches among the names."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def prefixed(ours: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    """`names`, with the prefix `ours` before each key and `theirs` before each value."""
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def rename(
    path: Path,
    theirs: dict[str, Any],
    names: dict[str, str],
    ignored: str,
    read: Callable[[str, Any], Tensor],
    kind: str = "StyleGAN2",
) -> Weights:
    """The tensors under our names; `read(name, record)` gives that of a record. `kind` of generator: for messages.

    Raises `BadInput` where one is missing, or where others are left whose names do not end in `ignored`.
    """
    missing = [name for name in names.values() if theirs.get(name) is None]
    if missing:
        raise BadInput(f"{path}: {len(missing)} of the generator's tensors are missing, for example {missing[0]}.")
    surplus = theirs.keys() - set(names.values())
    unknown = sorted(name for name in surplus if not name.endswith(ignored))
    if unknown:
        raise BadInput(f"{path}: {len(unknown)} tensors do not belong to a {kind} generator, for example {unknown[0]}.")
    return {ours: _checked(path, name, read(name, theirs[name])) for ours, name in names.items()}


def _checked(path: Path, name: str, x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise BadInput(f"{path}: {name} holds {x.dtype}; the weights of a generator are floating-point numbers.")
    if not x.isfinite().all():
        raise BadInput(f"{path}: {name} holds NaN or infinite numbers, as after a training that diverged.")
    return x


def build_generator(path: Path, weights: Weights, conv_clamp: float | None = None) -> StyleGAN2Generator:
    """The generator that the shapes of `weights` describe, with these weights. Raises `BadInput`.

    `conv_clamp`: see `StyleGAN2Generator`.
    """
    mapping_layers = count_indices(r"mapping\.layers\.(\d+)", weights)
    if not mapping_layers:
        raise BadInput(f"{path}: the generator has no mapping network.")
    levels = range(count_indices(r"to_rgbs\.(\d+)", weights))
    if mapping_layers > MOST_LAYERS:
        raise BadInput(f"{path}: its mapping network has {mapping_layers} layers; at most {MOST_LAYERS} can be loaded.")
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
            conv_clamp=conv_clamp,
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
    if shape[axis] > WIDEST:
        raise BadInput(f"{path}: {name} has the shape {list(shape)}; at most {WIDEST} channels can be loaded.")
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
