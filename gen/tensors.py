"""Small tensors on a device, without waiting for it: a plain copy from the host waits until all its work is done."""

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
