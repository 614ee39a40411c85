"""Seconds, memory and kernels of one StyleGAN2 training step.

python -m benchmarks.stylegan2_step FOLDER [--preset faces64] [--size 128] [--device cuda] [--batch 64] [--kernels 20]
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.trainer_steps import print_memory_and_kernels, seconds_a_step
from gen.provenance import machine
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import StyleGAN2Trainer

WARM_UP, STEPS = 16, 32
"""A step with the R1 penalty is one in 16."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("--preset", default="faces64")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--kernels", type=int, default=0, help="also list this many, by time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given = {"data": options.data, "out": Path(folder), "size": options.size, "distance_images": 0}
        changes = {"device": options.device, "batch": options.batch, "precision": options.precision}
        settings = StyleGAN2Settings.from_preset(options.preset, **given | changes, log_every=10**9, images=10**9)
        trainer = StyleGAN2Trainer(settings)
        print(
            machine(trainer.device),
            f"preset {options.preset}, {options.size} pixels, batch {options.batch}, precision {options.precision}",
        )
        seconds_a_step(trainer, WARM_UP)
        seconds = seconds_a_step(trainer, STEPS)
        print(f"{1000 * seconds:.0f} ms a step, {options.batch / seconds:.1f} images a second")
        print_memory_and_kernels(trainer, WARM_UP, options.kernels)


if __name__ == "__main__":
    main()
