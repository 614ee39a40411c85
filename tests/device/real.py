"""A real CUDA device, whose waits are counted by torch itself."""

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SYNC = "called a synchronizing CUDA operation"


class RealDevice:
    """Counts waits as the pretended `Device` does."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        """File and line -> how often the host waited for the device there."""

    def forget(self) -> None:
        """Begin to count anew."""
        self.waits.clear()

    def note(self, message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        """Count a warning of a wait."""
        if SYNC in str(message):
            self.waits[f"{filename}:{lineno}"] += 1


@contextmanager
def real_cuda() -> Iterator[RealDevice]:
    """Within the block, waits for the device are counted."""
    device = RealDevice()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = device.note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield device
        finally:
            torch.cuda.set_sync_debug_mode("default")
