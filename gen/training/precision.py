"""Choice between float32 and bfloat16 by measurement: without bf16 instructions, bf16 is many times slower."""

import time
from typing import Literal

import torch
from torch import nn

Precision = Literal["fp32", "bf16"]

GAIN = 0.9
"""bf16 is chosen if it takes less than this share of fp32's time: a smaller gain is not worth its 8-bit mantissa."""


def fastest_precision(device: torch.device) -> Precision:
    """The faster precision on `device`.

    On CUDA, bf16 if the GPU has it; on a CPU, by timing a convolution (half a second at most); elsewhere fp32.
    """
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type != "cpu":
        return "fp32"
    return (
        "bf16" if seconds_of_a_convolution(torch.bfloat16) < GAIN * seconds_of_a_convolution(torch.float32) else "fp32"
    )


def seconds_of_a_convolution(dtype: torch.dtype) -> float:
    """Seconds of a convolution of 64 channels, forward and backward; the faster of two rounds."""
    conv, image = nn.Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 24, 32, requires_grad=True)
    times: list[float] = []
    for _ in range(3):  # the first round is warm-up and is not counted
        began = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = conv(image).float().mean()
        loss.backward()
        times.append(time.perf_counter() - began)
    return min(times[1:])
