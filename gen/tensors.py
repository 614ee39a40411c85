"""Small tensors on a device, and statistics of large ones.

A plain copy from the host to a device waits until all the device's work is done; these do not.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def on_device(
    values: Sequence[object] | NDArray[Any] | Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """Values of the host as a tensor on `device`."""
    return torch.as_tensor(values, dtype=dtype).to(device, non_blocking=True)


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """The same numbers in every call, such as a filter's, as a tensor (N,) of the device and type of `like`."""
    return _constant(values, like.device, like.dtype)


@cache
def _constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # it may be used in training later
        return on_device(values, device, dtype)


def in_float32(x: Tensor) -> Tensor:
    """Half precision in float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def spatial_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Variance (biased) and mean over the pixels of (B, C, H, W): (B, C, 1, 1) each, in float32 at least."""
    x = in_float32(x)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
    # On a CPU torch.var_mean takes ten times as long, because it is not vectorised.
    mean = x.mean((2, 3), keepdim=True)
    difference = x - mean
    square = difference.square() if difference.requires_grad else difference.square_()
    return square.mean((2, 3), keepdim=True), mean
