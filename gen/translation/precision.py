"""The precision that a translation runs in. This module imports torch only when it is asked."""

import functools
from typing import TYPE_CHECKING, Literal

from gen.translation.settings import TranslateSettings

if TYPE_CHECKING:
    import torch


def precision_of(settings: TranslateSettings) -> Literal["fp32", "bf16"]:
    """What `settings.precision` comes to on its device."""
    return _automatic(settings.device) if settings.precision == "auto" else settings.precision


def dtype_of(settings: TranslateSettings) -> "torch.dtype":
    """The type of the networks' weights."""
    import torch

    return torch.bfloat16 if precision_of(settings) == "bf16" else torch.float32


@functools.cache
def _automatic(device: str) -> Literal["fp32", "bf16"]:
    """bf16 on a GPU that has it. On a CPU fp32: what bf16 gains there differs from machine to machine."""
    import torch

    on_gpu = device == "auto" or device.startswith("cuda")
    has_bf16 = on_gpu and torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"
