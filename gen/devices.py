"""Which device networks run on. This module imports torch only when it is asked."""

import logging
import os
import re
from typing import TYPE_CHECKING

from gen.errors import BadSetting

if TYPE_CHECKING:
    import torch


NAME = r"auto|cpu|mps|cuda(:\d{1,3})?"
"""What a setting `device` may be, as a regular expression."""
NAMES = "auto, cpu, cuda, cuda:1 or mps"
"""The same in words."""
DRIVER = "/proc/driver/nvidia/version"
"""There where an NVIDIA driver is loaded."""
log = logging.getLogger(__name__)

OUT_OF_MEMORY = (
    *("not enough memory", "out of memory", "defaultcpuallocator", "bad_alloc", "unable to allocate"),
    "could not create a primitive",  # oneDNN's convolutions
    "32-bit index",  # CUDA kernels, beyond 2^31 values
    "can't start new thread",  # Python's, for want of room for its stack
)
"""What allocators say; torch raises a plain RuntimeError on the CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of the computer or of the device, was too short."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)
    )


def pick_device(name: str | None = "auto") -> "torch.device":
    """`auto` and None: the GPU if there is one, else the CPU, with a warning if torch cannot use this machine's GPU.

    Raises `BadSetting` for an unknown name, and for a device that is not here.
    """
    import torch

    if name in (None, "auto"):
        if not torch.cuda.is_available() and os.path.exists(DRIVER):
            log.warning(
                "torch cannot use this machine's GPU: its driver is too old for this torch, or torch is a build for "
                "CPUs. The CPU is used; `gen doctor` tells more."
            )
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(NAME, name):
        raise BadSetting(f"unknown device {name!r}; use {NAMES}.")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadSetting(f"device={name}: torch finds no CUDA device on this machine; use device=cpu.")
    if ":" in name and device.index >= torch.cuda.device_count():
        raise BadSetting(f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0 on.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadSetting(f"device={name}: torch finds no Apple GPU on this machine; use device=cpu.")
    return device
