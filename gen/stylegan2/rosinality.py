"""The checkpoint format of rosinality/stylegan2-pytorch: read and write."""

import logging
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.formats.torch_files import TorchFile
from gen.media.files import write_atomically
from gen.stylegan2.assembly import Weights, build_generator, count_indices, prefixed, rename
from gen.stylegan2.networks import StyleGAN2Generator

log = logging.getLogger(__name__)


def save_rosinality(generator: StyleGAN2Generator, path: Path) -> None:
    """Write `g_ema` and `latent_avg` under rosinality's names, with its filters: the form that most other tools read.

    Those tools derive the channels from the image size and one multiplier (`config_f_channels` with multiplier 1 or 2)
    and need z as wide as w. Generators of other shapes are written too, but only `load_stylegan2` reads them. The
    format cannot say that activations are clamped; a warning then does.
    """
    if generator.config["conv_clamp"] is not None:
        log.warning(
            f"{path}: this format cannot say that activations are clamped at {generator.config['conv_clamp']:g}; "
            "pictures differ where they are."
        )
    names = _rosinality_names(len(generator.to_rgbs), len(generator.mapping.layers))
    ours = {name: tensor.detach().float().cpu().clone() for name, tensor in generator.state_dict().items()}
    theirs = {names[name]: _rosinality_shape(name, ours[name]) for name in names}
    theirs |= _rosinality_filters(len(generator.to_rgbs))
    with write_atomically(path) as partial:
        torch.save({"g_ema": theirs, "latent_avg": ours["w_average"]}, partial)


def from_rosinality(file: TorchFile) -> StyleGAN2Generator:
    """The generator in a file. Raises `BadInput`."""
    path, content = file.path, file.content
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        raise BadInput(f"{path}: no g_ema in this file; a rosinality .pt keeps its averaged generator under that name.")
    theirs: dict[str, Any] = {str(name): record for name, record in content["g_ema"].items()}
    names = _rosinality_names(1 + count_indices(r"to_rgbs\.(\d+)\.", theirs), count_indices(r"style\.(\d+)\.", theirs))
    if not any(name.startswith("noises.") for name in theirs):
        names = {ours: name for ours, name in names.items() if not name.startswith("noises.")}
    if content.get("latent_avg") is not None:
        names["w_average"], theirs["latent_avg"] = "latent_avg", content["latent_avg"]
    return build_generator(path, rename(path, theirs, names, ".kernel", file.tensor))


def _rosinality_names(levels: int, mapping_layers: int) -> dict[str, str]:
    """Our tensor names -> rosinality's, except for the average of w."""
    names = {"constant": "input.input"}
    for i in range(mapping_layers):
        names |= prefixed(f"mapping.layers.{i}", f"style.{i + 1}", {"weight": "weight", "bias": "bias"})
    conv = {"conv.weight": "conv.weight"} | {f"conv.affine.{x}": f"conv.modulation.{x}" for x in ("weight", "bias")}
    for k in range(2 * levels - 1):
        styled = conv | {"bias": "activate.bias", "noise_strength": "noise.weight"}
        names |= prefixed(f"convs.{k}", f"convs.{k - 1}" if k else "conv1", styled)
        names[f"convs.{k}.noise"] = f"noises.noise_{k}"
    for j in range(levels):
        names |= prefixed(f"to_rgbs.{j}", f"to_rgbs.{j - 1}" if j else "to_rgb1", conv | {"bias": "bias"})
    return names


def _rosinality_shape(name: str, tensor: Tensor) -> Tensor:
    """Our tensor with rosinality's extra dimensions of length one."""
    if name.endswith("conv.weight"):
        return tensor[None]
    if name.endswith("noise_strength"):
        return tensor.reshape(1)
    return tensor.reshape(1, -1, 1, 1) if re.fullmatch(r"to_rgbs\.\d+\.bias", name) else tensor


def _rosinality_filters(levels: int) -> Weights:
    """The upsampling filter [1, 3, 3, 1] under every name that `load_state_dict(strict=True)` of that code expects."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    names = [
        f"{name}.kernel" for j in range(levels - 1) for name in (f"convs.{2 * j}.conv.blur", f"to_rgbs.{j}.upsample")
    ]
    return {name: torch.outer(taps, taps) / 16 for name in names}
