"""Describe a training run without doing it: nothing is written to its run directory.

On a CPU, a step of a large preset takes minutes. So steps at two small crops are measured, and a straight line through
both gives the time and memory of a full one: a step has costs of its own (the optimiser's), and costs of each pixel.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from gen.augan.cost import count_parameters, shadows, training_macs
from gen.augan.settings import AUGANSettings, check_pairs
from gen.augan.training import AUGANTrainer, check_crop
from gen.errors import BadSetting
from gen.media.files import check_out_folder
from gen.training.frames import find_frames, reasons_unusable
from gen.training.memory import activations
from gen.training.settings import as_record
from gen.translation.training_settings import pair_sources

CROPS = (64, 128)
"""Sides in pixels of the crops that are timed on a CPU."""
FREE_SHARE = 0.5
"""Share of the free memory that a step may be expected to take. The rest is for cached frames, gradients on their way,
and what convolutions need beside."""
ROUNDS = 2
"""Times that steps are timed; the fastest counts, because other programs only make it slower."""
SAMPLE = 20
"""Pictures of each folder that are decoded, to see whether they can be used."""


def describe(settings: AUGANSettings, kind: type[AUGANTrainer] = AUGANTrainer) -> Iterator[str]:
    """Settings, pictures, parameters and MACs, each line at once; then, within a minute, duration and memory.

    `kind`: the trainer. Raises `GenError` for what the training would refuse.
    """
    s = settings
    check_out_folder(s.out)
    check_crop(s)
    check_pairs(s)
    yield from (f"{name}: {value}" for name, value in as_record(s).items())
    counts: dict[str, int] = {}
    for name, folder in _folders(s).items():
        paths = find_frames(name, folder)
        counts[name] = len(paths)
        yield f"{name} frames: {len(paths)} pictures in {folder}"
        chosen = [paths[int(i)] for i in np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths)))]
        yield from (f"  cannot be used: {why}" for why in reasons_unusable(chosen, s.load_height, s.crop))
    yield from (f"parameters of {name}: {count_parameters(net):,}" for name, net in shadows(s).items())
    yield f"MACs of one training image pair, forward: {training_macs(s) / 1e9:.1f} G"
    yield duration(s, s.images_to_show(min(counts["adverse"], counts["normal"])), kind)


def _folders(s: AUGANSettings) -> Mapping[str, Path]:
    """The folders of pictures by the names that the trainer gives them."""
    folders = {"adverse": s.adverse, "normal": s.normal}
    for name, (folder, _) in pair_sources(s).items():
        if folder is not None:
            folders |= {f"{name} {domain}": folder / domain for domain in ("adverse", "day")}
    return folders


def duration(s: AUGANSettings, total: int, kind: type[AUGANTrainer] = AUGANTrainer) -> str:
    """How long `total` images take, how much memory, and what that was computed from, a sentence each."""
    with TemporaryDirectory() as folder:
        made = _on_noise(s, Path(folder))
        trainer = kind(made)
        device, processes = trainer.device, trainer.accelerator.num_processes
        if device.type == "cuda":  # fast enough to time the real thing, and a small crop would tell nothing of it
            seconds, basis = _run_seconds(trainer, total), "measured at full size"
            peak = torch.cuda.max_memory_allocated(device)
        else:
            pixels = s.crop[0] * s.crop[1] * s.batch / processes
            trainers = _at_small_crops(made, processes, kind)
            seconds = _extrapolated([_run_seconds(one, total, s) for one in trainers], pixels)
            fixed, kept = _step_bytes(trainers, s)
            peak = fixed + _extrapolated(kept, pixels / s.accumulate)
            basis = f"extrapolated from steps at crops of {CROPS[0]}x{CROPS[0]} and {CROPS[1]}x{CROPS[1]}"
    compiled = "; compiled networks are faster" if s.compile else ""
    more = 2 * s.accumulate
    less = f"; accumulate={more} takes less" if s.batch % (more * processes) == 0 else ""
    return (
        f"{total} images at {total / seconds:.3g} images/s: about {_hours(seconds)} on {device} ({basis}{compiled})\n"
        f"memory: about {peak / 1e9:.2g} GB in {trainer.precision} ({basis}), beside the frames{less}"
    )


def _extrapolated(values: Sequence[float], pixels: float) -> float:
    """What was measured at the two crops, at so many pixels."""
    (low, high), (first, second) = values, (side * side for side in CROPS)
    return max(low, low + (high - low) * (pixels - first) / (second - first))


def fitting_accumulate(s: AUGANSettings, kind: type[AUGANTrainer] = AUGANTrainer) -> int:
    """The fewest accumulation parts with which a step fits into the free memory of its device.

    Raises `BadSetting` if not even one pair at a time does.
    """
    with TemporaryDirectory() as folder:
        made = _on_noise(s, Path(folder))
        trainers = _at_small_crops(made, 1, kind)
        device, processes = trainers[0].device, trainers[0].accelerator.num_processes
        fixed, kept = _step_bytes(trainers, s)
        room = FREE_SHARE * free_bytes(device)
    share = s.batch // processes  # of one process
    for parts in (n for n in range(1, share + 1) if share % n == 0):
        if fixed + _extrapolated(kept, s.crop[0] * s.crop[1] * share / parts) <= room:
            return parts
    raise BadSetting(
        f"even one pair at a time needs more than the {room / 1e9:.2g} GB that a step may take on {device}; choose a "
        "smaller crop or width."
    )


def free_bytes(device: torch.device) -> int:
    """Memory of the device that is free now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _at_small_crops(made: AUGANSettings, processes: int, kind: type[AUGANTrainer]) -> list[AUGANTrainer]:
    """Trainers with the smallest batch at the crops `CROPS`."""
    return [kind(replace(made, crop=(side, side), batch=processes, accumulate=1)) for side in CROPS]


def _step_bytes(trainers: Sequence[AUGANTrainer], s: AUGANSettings) -> tuple[int, list[int]]:
    """Bytes of weights, gradients and optimisers, and those that autograd keeps at each of `CROPS`."""
    fixed = trainers[0].checkpoint_bytes() + trainers[0].gradient_bytes()
    return fixed, [_kept_bytes(trainer, s.pairs_first) for trainer in trainers]


def _kept_bytes(trainer: AUGANTrainer, shown: int) -> int:
    """The most that autograd keeps for the way back in the step after `shown` images."""
    trainer.images_shown = shown
    with activations([w for network in trainer.raw.values() for w in network.parameters()]) as kept:
        trainer.step(trainer.share_of(shown))
    return kept.most


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 360 else f"{seconds / 60:.1f} minutes"


def _on_noise(s: AUGANSettings, folder: Path) -> AUGANSettings:
    """The settings for pictures of noise in `folder`, with random weights and without the warm-up, whose steps are
    shorter."""
    height, width = (max(side, CROPS[-1]) for side in s.crop)
    for name in ("adverse", "day"):
        (folder / name).mkdir()
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name / "0.png")
    pairs = {name: folder for name, (own, _) in pair_sources(s).items() if own is not None}
    return replace(
        s, adverse=folder / "adverse", normal=folder / "day", out=folder / "run", load_height=height,
        start_from=None, warm_up=0, compile=False, **pairs,
    )  # fmt: skip


def _run_seconds(trainer: AUGANTrainer, total: int, run: AUGANSettings | None = None) -> float:
    """Seconds of a run of `total` images, if its steps took as long as those of this trainer.

    `run`: the settings of that run, if its batch is not the trainer's.
    """
    s = run or trainer.settings
    pairs = min(s.pairs_first, total)
    phases = ((0, pairs, s.pairs_back_every), (pairs, total - pairs, max(s.cycle_every, s.reconstruct_every)))
    return sum(count / s.batch * _step_seconds(trainer, first, steps) for first, count, steps in phases if count)


def _step_seconds(trainer: AUGANTrainer, shown: int, steps: int) -> float:
    """Mean seconds of a step over `steps` steps, from `shown` images on. The steps change the networks."""
    times: list[float] = []
    for _ in range(1 + ROUNDS):  # the first round is a warm-up
        began = time.perf_counter()
        for step in range(steps):
            trainer.images_shown = shown + step * trainer.settings.batch
            losses = trainer.step(trainer.share_of(trainer.images_shown))
            float(sum(losses.values()))  # waits for the device
        times.append((time.perf_counter() - began) / steps)
    return min(times[1:])
