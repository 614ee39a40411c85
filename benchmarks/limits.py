"""What this machine can do at most: arithmetic, memory and JPEG, against which other figures are read."""

import io
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


def fastest(work: Callable[[], object], seconds: float = 1.0) -> float:
    """Seconds of the fastest of the calls that fit into `seconds`, after one to warm up."""
    work()
    end, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


def limits() -> dict[str, float]:
    """Figures by name with their unit, on as many threads as torch has."""
    a = torch.rand(1024, 1024)
    x, weight = torch.rand(1, 64, 96, 176), torch.rand(64, 64, 3, 3)
    block = torch.zeros(64 * 2**20)  # 256 MB, more than caches hold
    frame = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)).resize((640, 360))
    jpeg = io.BytesIO()
    frame.save(jpeg, "JPEG", quality=95)
    with torch.inference_mode():
        return {
            "matmul, fp32, GFLOP/s": 2 * 1024**3 / fastest(lambda: a @ a) / 1e9,
            "3x3 convolution, fp32, GFLOP/s": 2 * 9 * 64 * 64 * 96 * 176 / fastest(lambda: F.conv2d(x, weight)) / 1e9,
            "memory, read and write, GB/s": 2 * block.nbytes / fastest(lambda: block.add_(1)) / 1e9,
            "JPEG 640x360, decode, frames/s": 1 / fastest(lambda: np.asarray(Image.open(io.BytesIO(jpeg.getvalue())))),
            "JPEG 640x360, encode, frames/s": 1 / fastest(lambda: frame.save(io.BytesIO(), "JPEG", quality=95)),
        }
