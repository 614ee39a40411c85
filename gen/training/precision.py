"""Choose the faster precision by measurement: bfloat16 helps only on processors with instructions for it."""

import time
from typing import Literal

import torch
from torch import nn

Precision = Literal["fp32", "bf16"]

MAX_TIME_RATIO = 0.9
"""bf16 is chosen if it takes less than this share of fp32's time. Less than 1, because bf16 keeps only 8 bits of
precision, which a small gain is not worth."""


def fastest_precision(device: torch.device) -> Precision:
    """bf16 on a GPU that supports it; on a CPU, whichever runs a convolution faster (measured in half a second)."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    return (
        "bf16" if convolution_seconds(torch.bfloat16) < MAX_TIME_RATIO * convolution_seconds(torch.float32) else "fp32"
    )


def convolution_seconds(dtype: torch.dtype) -> float:
    """Time of one convolution of 64 channels, forward and backward: the best of two rounds."""
    conv, image = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 24, 32, requires_grad=True)
    times: list[float] = []
    for _ in range(3):  # the first one is a warm-up
        began = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = conv(image).float().mean()
        loss.backward()
        times.append(time.perf_counter() - began)
    return min(times[1:])
