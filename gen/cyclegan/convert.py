"""Read the generators (.pth) of pytorch-CycleGAN-and-pix2pix and of contrastive-unpaired-translation (CUT)."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.cyclegan.card import write_card
from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator
from gen.errors import BadInput, BadSetting
from gen.formats.state_dicts import read_state_dict
from gen.loading import loading
from gen.output import output_folder
from gen.provenance import fingerprint_file
from gen.training.experiment import write_text
from gen.training.model_folder import save_model
from gen.translation.settings import DIRECTIONS, Direction

MOST_BLOCKS = 64
"""Residual blocks; the repositories have 6 or 9."""


def convert(
    generator: Path,
    out: Path,
    direction: Direction,
    back: Path | None,
    size: tuple[int, int],
    weathers: Sequence[str] = (),
) -> None:
    """Write a model folder with one generator, or with `back`, that of the other direction, two.

    `size`: (height, width) of the images that they were trained on. Raises `BadInput` for a file that holds no ResNet
    generator of those repositories, and `BadSetting` for an `out` that holds a model or cannot be written.
    """
    if min(size) < 4:
        raise BadSetting(
            f"height and width must be at least 4, not {size[0]}x{size[1]}; the repositories' default is 256x256."
        )
    if (out / "model_index.json").exists():
        raise BadSetting(f"out: {out} already holds a model; choose another folder.")
    other = next(d for d in DIRECTIONS if d != direction)
    files = {direction: generator} | ({other: back} if back is not None else {})
    networks = {d: read_generator(path) for d, path in files.items()}
    pipeline = CycleGANPipeline(
        networks.get("adverse_to_normal"), networks.get("normal_to_adverse"), *size, weathers=list(weathers)
    )
    with output_folder(out):
        save_model(out, pipeline.save_pretrained, "model_index.json")
        names = {d: f"{path.name} (SHA-256 {fingerprint_file(path)})" for d, path in files.items()}
        write_text(out / "training.json", json.dumps({"converted": names}, indent=2))
        write_card(out)


@loading
def read_generator(path: Path) -> ResNetGenerator:
    """The generator that a file holds, in evaluation mode. Nothing in the file is executed. Raises `BadInput`."""
    state = _read_state(path)
    if any(key.startswith("model.model.") for key in state):
        raise _refused(path, "a U-Net generator (unet_128 or unet_256)")
    if "model.1.weight" not in state or not any(".conv_block." in key for key in state):
        raise _refused(path, "something else")
    with torch.device("meta"):  # a width without the weights for it must not allocate them
        network = ResNetGenerator(**_shape(path, state))
    weights = {name: x.float() if x.is_floating_point() else x for name, x in _renamed(state).items()}
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise _refused(path, "a generator with other layers") from error
    return network.eval()


def _read_state(path: Path) -> dict[str, Tensor]:
    return {name.removeprefix("module."): x for name, x in read_state_dict(path).items()}


def _shape(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `ResNetGenerator`, from the names and shapes of its weights."""
    if not _is_convolution(state, 1):
        raise _refused(path, "something else")
    width, channels = state["model.1.weight"].shape[:2]
    blocks = sorted(int(m[1]) for key in state if (m := re.fullmatch(r"model\.(\d+)\.conv_block\.1\.weight", key)))
    if len(blocks) > MOST_BLOCKS:
        raise _refused(path, f"{len(blocks)} residual blocks")
    if channels != 3 or not blocks:
        raise _refused(
            path, f"a generator of {channels}-channel images" if blocks else "blocks without reflection padding"
        )
    after = blocks[-1] + 1
    return {
        "width": width,
        "blocks": len(blocks),
        # BatchNorms have weights; InstanceNorms of old files have running statistics alone, which were never used.
        "norm": "batch" if "model.2.weight" in state else "instance",
        # A blur stands between the two downsampling convolutions, and moves the second from place 7 to 8.
        "antialias_down": _is_convolution(state, 8),
        # An interpolation has no weights, so that the convolution comes one place later.
        "antialias_up": _is_convolution(state, after + 1),
    }


def _is_convolution(state: Mapping[str, Tensor], index: int) -> bool:
    weight = state.get(f"model.{index}.weight")
    return weight is not None and weight.dim() == 4


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of `ResNetGenerator`: without blur kernels, unused statistics and dropout layers."""
    dropout = any(key.endswith(".conv_block.6.weight") and value.dim() == 4 for key, value in state.items())
    batch_norm = "model.2.weight" in state
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key.rpartition(".")[2]
        if name == "filt" or (not batch_norm and name in ("running_mean", "running_var", "num_batches_tracked")):
            continue
        if dropout:  # it stands at place 4 of a block; all that follows moves down
            key = re.sub(r"\.conv_block\.(\d+)\.", lambda m: f".conv_block.{int(m[1]) - (int(m[1]) > 4)}.", key)
        renamed[key] = value
    return renamed


def _refused(path: Path, what: str) -> BadInput:
    return BadInput(
        f"{path}: this file holds {what}; only ResNet generators (resnet_6blocks, resnet_9blocks) of "
        "pytorch-CycleGAN-and-pix2pix and CUT can be converted."
    )
