"""A network in 8-bit integers, for OpenVINO (https://github.com/openvinotoolkit/nncf).

Each map between layers gets a scale, from the values that it takes on frames of the kind that the network will see.
"""

import logging
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen.errors import BadInput, BadSetting
from gen.media.images import at_rows, decode_still
from gen.media.left_out import LeftOut
from gen.media.resize import to_float
from gen.metrics.distances import list_images

FRAMES = 64
"""Frames whose values give the scales."""
PART = "adverse_to_normal"
"""The part that is reduced to 8 bits: the others see images of other kinds."""


def check_int8(frames: Path, to: str) -> None:
    """Raises `BadSetting` or `BadInput` if `gen export --int8` cannot work."""
    if to != "openvino":
        raise BadSetting("int8 is of the format openvino; set --to openvino too.")
    if find_spec("nncf") is None:
        raise BadSetting("int8: the package nncf is not installed; run pip install nncf.")
    list_images(frames)


def read_frames(folder: Path, rows: int, least: int) -> list[NDArray[np.float32]]:
    """`FRAMES` of the folder's images, evenly spaced, as (1, 3, rows, W) in [-1, 1].

    Images whose sides would be below `least` are left out, and so are those that cannot be read. Raises `BadInput` if
    none is left.
    """
    paths, left_out = list_images(folder, FRAMES), LeftOut()
    images = [left_out.read(path, lambda path: _read(path, rows, least)) for path in paths]
    left_out.check(folder, len(paths))
    return [image for image in images if image is not None]


def _read(path: Path, rows: int, least: int) -> NDArray[np.float32]:
    small = at_rows(decode_still(path).rgb, rows)
    if small.shape[1] < least:
        raise BadInput(f"{path} is too narrow: at {rows} rows it has {small.shape[1]} columns, and {least} are needed.")
    return to_float(torch.from_numpy(small).permute(2, 0, 1)[None]).numpy()


def in_int8(model: Any, frames: Sequence[NDArray[np.float32]]) -> Any:
    """An OpenVINO model with one input, an image, in 8-bit integers where that loses little; the rest stays float32."""
    os.environ.setdefault("NNCF_CI", "1")  # else NNCF reports to its authors that it was used
    for name in ("nncf", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    nncf: Any = import_module("nncf")  # not installed everywhere, so unknown to type checkers
    # Weights symmetric, maps not: their values lie on one side after an activation.
    preset = nncf.QuantizationPreset.MIXED
    return nncf.quantize(model, nncf.Dataset(frames), preset=preset, subset_size=len(frames))
