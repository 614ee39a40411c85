"""Time the steps of a trainer, and list their kernels."""

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from gen.training.loop import Trainer


def seconds_a_step(trainer: Trainer[Any], steps: int) -> float:
    """The mean over so many steps."""
    began = time.perf_counter()
    for _ in range(steps):
        trainer.train_one_step()
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / steps


def print_memory_and_kernels(trainer: Trainer[Any], steps: int, kernels: int) -> None:
    """Print the most memory that a GPU needed, and, from so many more steps, the `kernels` that take the most time."""
    device = trainer.device
    if device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
    if kernels:
        kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        with profile(activities=kinds) as found:
            seconds_a_step(trainer, steps)
        key = f"self_{'cuda' if device.type == 'cuda' else 'cpu'}_time_total"
        print(found.key_averages().table(sort_by=key, row_limit=kernels, max_name_column_width=60))
