"""Seconds, memory and kernels of one AU-GAN training step, with every loss.

python -m benchmarks.augan_step NIGHT DAY [--preset bdd] [--device cuda] [--compile] [--kernels 20]
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from gen.augan.start import choose_settings
from gen.augan.training import AUGANTrainer
from gen.provenance import machine

WARM_UP, STEPS = 10, 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("adverse", type=Path, help="folder of frames")
    parser.add_argument("normal", type=Path, help="folder of frames")
    parser.add_argument("--preset", default="bdd")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--kernels", type=int, default=0, help="also list this many, by time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = {"adverse": options.adverse, "normal": options.normal, "out": Path(folder), "pairs_first": 0}
        changes = {"device": options.device, "compile": options.compile, "log_every": 1_000_000, "warm_up": 0}
        trainer = AUGANTrainer(choose_settings(options.preset, given | changes))
        device, batch = trainer.device, trainer.settings.batch

        def run(steps: int) -> float:
            began = time.perf_counter()
            for _ in range(steps):
                trainer.train_one_step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            return (time.perf_counter() - began) / steps

        print(machine(device), f"preset {options.preset}, batch {batch}, compiled: {options.compile}")
        first = run(1)
        run(WARM_UP)
        seconds = run(STEPS)
        print(f"first step {first:.1f} s; then {1000 * seconds:.0f} ms a step, {batch / seconds:.1f} pairs a second")
        if device.type == "cuda":
            print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")
        if options.kernels:
            kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
            with profile(activities=kinds) as found:
                run(2)
            key = f"self_{'cuda' if device.type == 'cuda' else 'cpu'}_time_total"
            print(found.key_averages().table(sort_by=key, row_limit=options.kernels, max_name_column_width=60))


if __name__ == "__main__":
    main()
