"""What a call costs: seconds, and how far the memory of the process grows meanwhile."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cost:
    seconds: float = 0.0
    megabytes: float = 0.0
    """Peak of resident memory above its size before."""


@contextmanager
def measured() -> Generator[Cost]:
    """Measure the block. The peak is the kernel's (VmHWM), so that what is freed again counts too."""
    cost = Cost()
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
    before, began = _kilobytes("VmRSS"), time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - began
        cost.megabytes = max(0, _kilobytes("VmHWM") - before) / 1000


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
