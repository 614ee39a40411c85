"""Which arithmetic a machine is faster in: bfloat16 is worth it only where the processor has instructions for it."""

import time
from typing import Literal

import torch
from torch import nn

Precision = Literal["fp32", "bf16"]

GAIN = 0.9
"""bf16 must take less than this share of fp32's time, because it rounds to eight bits."""


def fastest_precision(device: torch.device) -> Precision:
    """bf16 on a GPU that has it; on a CPU, what a convolution there and back is faster in (half a second at most)."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    return (
        "bf16" if seconds_of_a_convolution(torch.bfloat16) < GAIN * seconds_of_a_convolution(torch.float32) else "fp32"
    )


def seconds_of_a_convolution(dtype: torch.dtype) -> float:
    """The faster of two rounds of a convolution of 64 channels, forward and backward."""
    conv, image = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 24, 32, requires_grad=True)
    times: list[float] = []
    for _ in range(3):  # the first one prepares
        began = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = conv(image).float().mean()
        loss.backward()
        times.append(time.perf_counter() - began)
    return min(times[1:])
