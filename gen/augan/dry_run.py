"""Describe a training run without doing it."""

import time

from gen.augan.cost import count_parameters, training_macs
from gen.augan.training import AUGANTrainer
from gen.training.settings import as_record


def describe(trainer: AUGANTrainer) -> str:
    """Settings, data, parameters, MACs, and the expected duration, estimated from a few timed steps."""
    s = trainer.settings
    lines = [f"{name}: {value}" for name, value in as_record(s).items()]
    lines += [f"{f.name} frames: {f.summary()}" for f in trainer.frames]
    lines += [f"parameters of {name}: {count_parameters(net):,}" for name, net in trainer.raw.items()]
    lines.append(f"MACs of one training image pair, forward: {training_macs(s) / 1e9:.1f} G")
    trainer.warm_up = 0  # warm-up steps are shorter and would distort the estimate
    total, pairs = trainer.total_images, min(s.pairs_first, trainer.total_images)
    phases = ((0, pairs, 1), (pairs, total - pairs, max(s.cycle_every, s.reconstruct_every)))
    seconds = sum(count * _image_seconds(trainer, first, steps) for first, count, steps in phases if count)
    lines.append(
        f"{total} images at {total / seconds:.2f} images/s: about {seconds / 3600:.1f} hours on {trainer.device}"
    )
    return "\n".join(lines)


def _image_seconds(trainer: AUGANTrainer, shown: int, steps: int) -> float:
    """Mean seconds per image over `steps` steps, starting at `shown` images. The steps change the networks."""
    sample = [[0]] if trainer.device.type == "cpu" else trainer.share_of(0)
    images = sum(len(part) for part in sample) * trainer.accelerator.num_processes
    began = time.perf_counter()
    for step in range(-1, steps):  # the first one is a warm-up (and compiles)
        if step == 0:
            began = time.perf_counter()
        trainer.images_shown = shown + max(step, 0) * trainer.settings.batch
        sum(trainer.step(sample).values()).item()  # pyright: ignore[reportAttributeAccessIssue]
    return (time.perf_counter() - began) / (steps * images)
