"""Seconds, memory and kernels of one AU-GAN training step, with every loss.

python -m benchmarks.augan_step NIGHT DAY [--preset bdd] [--device cuda] [--compile] [--kernels 20]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.trainer_steps import print_memory_and_kernels, seconds_a_step
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

        print(machine(device), f"preset {options.preset}, batch {batch}, compiled: {options.compile}")
        first = seconds_a_step(trainer, 1)
        seconds_a_step(trainer, WARM_UP)
        seconds = seconds_a_step(trainer, STEPS)
        print(f"first step {first:.1f} s; then {1000 * seconds:.0f} ms a step, {batch / seconds:.1f} pairs a second")
        print_memory_and_kernels(trainer, 2, options.kernels)


if __name__ == "__main__":
    main()
