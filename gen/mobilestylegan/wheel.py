"""The published MobileStyleGAN of faces, 1024 pixels: read from the wheel of the package random-face.

The wheel (Apache 2.0, 38 MB) holds OpenVINO files. Their weights are read here; no code of the package is run.
"""

import copy
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from gen.errors import BadInput
from gen.loading import loading
from gen.mobilestylegan.networks import MobileStyleGANGenerator
from gen.stylegan2.assembly import LATENTS, MOST_LAYERS, WIDEST

PACKAGE = "random_face"
LARGEST = {".xml": 4 << 20, ".bin": 256 << 20}
"""Bytes of one of its files; the published ones are a tenth of that."""

MOST_LEVELS = 8
"""Those of an image of 1024 pixels."""

MAPPING_RATE = 0.01
"""StyleGAN2's learning rate multiplier of the mapping network, which is part of its weights."""

Constants = list[tuple[str, Tensor]]
"""Names and float64 values, in the order of the file."""


@loading
def load_wheel(path: Path) -> MobileStyleGANGenerator:
    """The generator of `random_face-*.whl`. Raises `BadInput` for another file, or one that is damaged."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _assembled(*(list(_constants(archive, f"{name}Network")) for name in ("Mapping", "Synthesis")))
    except Exception as error:  # zipfile raises a dozen kinds for a damaged file
        raise BadInput(f"{path}: this is not an intact wheel of the package random-face ({error}).") from error


def is_wheel(path: Path) -> bool:
    """Whether a name is that of a wheel."""
    return path.suffix == ".whl"


def _constants(archive: zipfile.ZipFile, network: str) -> Iterator[tuple[str, Tensor]]:
    """The float constants of a network. Raises `ValueError` if they are not in its file, or not finite."""
    texts: list[bytes] = []
    for suffix, most in LARGEST.items():
        info = archive.getinfo(f"{PACKAGE}/data/{network}{suffix}")
        if info.file_size > most:
            raise ValueError(f"{info.filename} has {info.file_size:,} bytes")
        texts.append(archive.read(info))
    description, values = texts
    left = 2 * len(values)  # constants may share a few bytes, but not name the same ones over and over
    for layer in ElementTree.fromstring(description).iter("layer"):
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None or data.get("element_type") != "f32":
            continue
        shape = [int(side) for side in re.findall(r"\d+", data.get("shape", ""))]
        start, count = int(data.get("offset", "")), math.prod(shape)
        left -= 4 * count
        if start < 0 or start + 4 * count > len(values) or left < 0:
            raise ValueError(f"{network}.bin is too short for what {network}.xml describes")
        value = np.frombuffer(values, "<f4", count, start).reshape(shape)
        if not np.isfinite(value).all():
            raise ValueError(f"{network}.bin holds NaN or infinite numbers")
        yield layer.get("name", ""), torch.from_numpy(value.astype(np.float64))


def _assembled(mapping: Constants, synthesis: Constants) -> MobileStyleGANGenerator:
    """The generator of these constants. Raises `ValueError` if they are not those of one."""
    weights, channels = _synthesis(synthesis)
    matrices = [value for _, value in mapping if value.ndim == 2 and value.numel() > 1]
    biases = [value for _, value in mapping if value.ndim == 1 and value.numel() > 1]
    for k, (weight, bias) in enumerate(zip(matrices, biases, strict=True)):
        weights[f"mapping.layers.{k}.weight"] = weight * math.sqrt(weight.shape[1]) / MAPPING_RATE
        weights[f"mapping.layers.{k}.bias"] = bias / MAPPING_RATE
    w_dim, z_dim = matrices[0].shape if matrices else (0, 0)
    if not 0 < max(*channels, w_dim, z_dim) <= WIDEST or len(matrices) > MOST_LAYERS:
        raise ValueError("no generator has networks of this size")
    weights["w_average"] = torch.zeros(w_dim)
    with torch.device("meta"):
        generator = MobileStyleGANGenerator(channels, z_dim, w_dim, len(matrices))
    wanted = {name: tuple(tensor.shape) for name, tensor in generator.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise ValueError(f"{wrong[0]} has the shape {found.get(wrong[0])}, not {wanted.get(wrong[0])}")
    if wrong := sorted(name for name, value in weights.items() if not value.isfinite().all()):
        raise ValueError(f"{wrong[0]} is not finite")
    generator.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    # In float64, so that machines that add in another order have the same average, and the same fingerprint.
    z = torch.randn(LATENTS, z_dim, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        generator.w_average.copy_(copy.deepcopy(generator.mapping).double()(z).mean(0))
    return generator.eval()


def _synthesis(constants: Constants) -> tuple[dict[str, Tensor], list[int]]:
    """The weights of the synthesis network under our names, and the channels of its levels.

    Styles are brought to a mean of about 1, and weights to a variance of about 1. Pictures stay the same by that, and
    training moves all weights at about the same relative speed.
    """
    named = {name.removeprefix("m."): value for name, value in constants}
    # Weights that were multiplied by trained factors, and noise maps, have lost their names: they come in order.
    kernels = [value for name, value in constants if re.fullmatch(r"Mul_\d+_copy", name)]
    noise = [v for _, v in constants if v.ndim == 4 and v.shape[:2] == (1, 1) and v.numel() > 1]
    weights: dict[str, Tensor] = {}

    def get(name: str) -> Tensor:
        if name not in named:
            raise ValueError(f"{name} is missing")
        return named[name]

    def style(ours: str, theirs: str) -> Tensor:
        """The affine map of a style; returns the factor that the styles have lost."""
        bias = get(f"{theirs}.modulation.bias").flatten()
        factor = bias.abs().mean()
        weight = get(f"{theirs}.modulation.weight")
        weights[f"{ours}.affine.weight"] = weight / factor * math.sqrt(weight.shape[-1])
        weights[f"{ours}.affine.bias"] = bias / factor
        return factor

    def kernel(ours: str, weight: Tensor) -> None:
        weights[f"{ours}.weight"] = weight * math.sqrt(weight[0].numel())

    def convolution(index: int, theirs: str, up: str = "") -> None:
        ours = f"convs.{index}"
        factor = style(f"{ours}.modulation", f"{theirs}.conv")
        if up:
            factor = factor * style(f"{ours}.before_up", up)
        # The published network divides styles by this root; its factor is in the weights here.
        factor = factor / math.sqrt(weights[f"{ours}.modulation.affine.bias"].numel() * 9)
        if not kernels or not noise:
            raise ValueError(f"the weights of {theirs} are missing")
        own = [kernels.pop(0)] if index == 0 else [get(f"{theirs}.conv.weight_dw").flatten(1, 2), kernels.pop(0)]
        for k, weight in enumerate(own):
            kernel(f"{ours}.conv.{k}", weight if k else weight * factor)
        weights[f"{ours}.bias"] = get(f"{theirs}.bias").flatten()
        given = noise.pop(0)
        weights[f"{ours}.noise_strength"] = given.std()
        weights[f"{ours}.noise"] = given / given.std()

    weights["constant"] = get("input.input")
    convolution(0, "conv1")
    levels = [k for k in range(MOST_LEVELS - 1) if f"layers.{k}.conv1.bias" in named]
    for k in levels:
        convolution(2 * k + 1, f"layers.{k}.conv1", f"layers.{k}.up")
        convolution(2 * k + 2, f"layers.{k}.conv2")
    last = f"layers.{len(levels) - 1}.to_img"
    weight = get(f"{last}.conv.weight")
    kernel("to_image.conv", weight * style("to_image.modulation", f"{last}.conv") / math.sqrt(weight.shape[1]))
    weights["to_image.bias"] = get(f"{last}.bias").flatten()
    return weights, [weights[f"convs.{index}.bias"].numel() for index in (0, *(2 * k + 1 for k in levels))]
