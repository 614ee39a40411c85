"""Frames and MACs per second of the published generator, by memory layout and precision, compiled or not.

python benchmarks/generator.py [--device cuda] [--size 512x256] [--batch 1] [--compile]
"""

import argparse
import itertools
import statistics
import time

import torch

from gen.augan.cost import translation_macs
from gen.augan.networks import AUGANGenerator
from gen.provenance import machine


def median_seconds(generator, image, repeats: int = 5) -> float:
    """Median time of one synchronised forward pass, after two warm-up passes."""
    seconds = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        with torch.no_grad():
            generator(image)
        if image.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", default="512x256", help="WIDTHxHEIGHT")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    device = torch.device(options.device)
    print(machine(device), f"{options.size}, batch {options.batch}, width {options.width}")
    generator = AUGANGenerator(width=options.width, reconstruction=False).to(device).eval()
    macs = translation_macs(generator, (height, width)) * options.batch
    layouts = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
    for (layout, memory_format), dtype in itertools.product(layouts.items(), (torch.float32, torch.bfloat16)):
        generator = generator.to(dtype=dtype, memory_format=memory_format)
        image = torch.randn(options.batch, 3, height, width, device=device, dtype=dtype)
        image = image.to(memory_format=memory_format)
        network = torch.compile(generator) if options.compile else generator
        seconds = median_seconds(network, image)
        name = f"{layout} {str(dtype).removeprefix('torch.')}"
        print(f"{name:<16} {options.batch / seconds:8.2f} frames/s {macs / seconds / 1e9:9.1f} GMAC/s")


if __name__ == "__main__":
    main()
