"""Images per second of each style at 224 x 224, world generation and resizing included.

python benchmarks/render_smd.py [--workers 8] [--device cuda --batch 256]
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from gen.smd.dataset import Levels
from gen.smd.names import SCENES
from gen.smd.styles import STYLES, Style


def work(style: Style, worker: int, seconds: float, device: str, batch: int) -> tuple[int, float]:
    """Render for about `seconds`; returns the number of images and the time they took."""
    torch.set_num_threads(1)
    levels = Levels(seed=worker, device=device)
    for scene in SCENES:  # warm-up: sprites, textures and kernels are made once
        levels.pictures(scene, style, range(2 if device == "cpu" else batch))
    count, first, began = 0, 100, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for scene in SCENES:
            count += len(levels.pictures(scene, style, range(first, first + batch)))
        first += batch
    return count, time.perf_counter() - began


def main() -> None:
    """Print one line per style."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4, help="images rendered together; 256 on a GPU")
    args = parser.parse_args()
    for style in STYLES.values():
        device = "cpu" if style.is_2d else args.device
        with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
            jobs = [pool.submit(work, style, i, args.seconds, device, args.batch) for i in range(args.workers)]
            rate = sum(count / seconds for count, seconds in (job.result() for job in jobs))
        print(f"{style.name:<8} {rate:6.1f} img/s in {args.workers} processes on {device}")


if __name__ == "__main__":
    main()
