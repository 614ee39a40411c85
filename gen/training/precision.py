"""Choice between float32 and bfloat16 by measurement: without bf16 instructions, bf16 is many times slower."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Literal, cast, get_args

import torch
from torch import nn

from gen.provenance import machine
from gen.training.settings import TrainerSettings, read_record

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


def precision_of(settings: TrainerSettings, device: torch.device, alone: bool) -> Precision:
    """The precision of the settings; for `auto`, that of the run so far if it was trained on such a machine.

    `alone`: whether this is the only process of the run.

    A measurement that came out the other way would change the arithmetic in the middle of a run.
    """
    if settings.precision != "auto":
        return settings.precision
    before, here = (read_record(settings.out) or {}).get("hardware"), machine(device)
    if isinstance(before, Mapping) and all(before.get(name) == here[name] for name in ("cpu", "gpu")):
        precision = before.get("precision")
        if precision in get_args(Precision):
            return cast(Precision, precision)
    if device.type == "cpu" and not alone:
        return "fp32"  # each process would measure for itself, and one beside others
    return fastest_precision(device)


@contextmanager
def fast_arithmetic() -> Generator[None]:
    """Settings of torch for a GPU, which are those of the whole process: on a server, others work in it too."""
    backends = torch.backends
    before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    # TF32: float32 products with 10 bits of mantissa, several times faster on GPUs that have it. cuDNN's search for the
    # fastest kernels (`benchmark`) stays off: it takes half a minute for the first step, and again for each new size of
    # a part of the batch, such as its share of simulated pairs.
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = before
