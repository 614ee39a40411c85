"""Which device networks run on. This module imports torch only when it is asked."""

from typing import TYPE_CHECKING

from gen.errors import BadSetting

if TYPE_CHECKING:
    import torch


OUT_OF_MEMORY = (
    *("not enough memory", "out of memory", "defaultcpuallocator", "bad_alloc", "unable to allocate"),
    "could not create a primitive",  # oneDNN's convolutions
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
    """`auto` and None: the GPU if there is one, else the CPU; other names as torch has them, for example cuda:1.

    Raises `BadSetting` for an unknown name, and for a CUDA device where torch finds none.
    """
    import torch

    if name in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadSetting(f"unknown device {name!r}; use auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BadSetting(f"device={name}: torch finds no CUDA device on this machine; use device=cpu.")
    return device
