"""Core-seconds for a frame of a translator's network in each runtime and precision, as ratios to torch in fp32.

python -m benchmarks.runtimes augan-night2day [--size 352x192] [--threads 2]
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from gen.provenance import machine
from gen.sizes import parse_size
from gen.translation import registry
from gen.translation.runtimes.choice import use_runtime
from gen.translation.runtimes.sessions import is_installed
from gen.translation.settings import TranslateSettings

ROWS = [("torch", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"), ("torch", "bf16"), ("openvino", "bf16")]


@dataclass
class Settings:
    """Measure the network of a model, to clear day."""

    model: tyro.conf.Positional[str] = "augan-night2day"
    size: str = "352x192"
    """WIDTHxHEIGHT that the network runs at."""
    threads: int = 1
    repeats: int = 7


def seconds(network: Callable[[], object], repeats: int) -> tuple[float, float]:
    """The fastest of some calls: by the clock, and core-seconds."""
    network()
    clock, cores = [], []
    for _ in range(repeats):
        began, core = time.perf_counter(), time.process_time()
        network()
        clock.append(time.perf_counter() - began)
        cores.append(time.process_time() - core)
    return min(clock), min(cores)


def main(settings: Settings) -> None:
    """Print a line for each runtime that is installed."""
    torch.set_num_threads(settings.threads)
    print(machine(torch.device("cpu")), f"threads {settings.threads}, {settings.size}")
    width, height = parse_size(settings.size, "size")
    image = torch.rand(1, 3, height, width) * 2 - 1
    base = None
    for runtime, precision in ROWS:
        if runtime != "torch" and not is_installed(runtime):
            continue
        pipe = registry.load(settings.model, "cpu", torch.bfloat16 if precision == "bf16" else torch.float32)
        use_runtime(pipe, TranslateSettings(Path(), Path(), model=settings.model, runtime=runtime), 1)
        padded = pipe.padded(image)
        with torch.inference_mode():
            clock, cores = seconds(lambda p=pipe, x=padded: p.outputs("adverse_to_normal", x), settings.repeats)
        base = base or cores
        print(f"{runtime:9} {precision}: {clock:.3f} s, {cores:.3f} core-seconds, {base / cores:.2f}x torch fp32")


if __name__ == "__main__":
    main(tyro.cli(Settings))
