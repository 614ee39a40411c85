"""From a run directory to what is kept: a model folder with its card, or an adaptation."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import nn
from torchvision.utils import make_grid

from gen.errors import BadInput
from gen.hda.adaptation import Adaptation, difference, fingerprint
from gen.hda.card import write_card
from gen.hda.gan_training import StyleGAN2Settings, latents, make_generator
from gen.hda.networks import StyleGAN2Generator
from gen.hda.pipeline import HDAPipeline
from gen.hda.references import square
from gen.hda.training import HDATrainer
from gen.media.images import decode_still
from gen.media.resize import to_uint8
from gen.metrics.distances import Population, list_images
from gen.metrics.features import FeatureName, Features, load_features
from gen.provenance import machine, portable
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.settings import make_settings

SHARD = "15MB"
"""Size that a weight file is split at, so that it can lie in a git repository."""

AVERAGED = 10_000
"""Latents whose mean w is `w_average`."""

BATCH = 32


def export_model(
    run: Path,
    out: Path,
    half: bool,
    data: Path | None,
    count: int,
    features: Sequence[str],
    weights_license: str,
    notes: Sequence[str] = (),
) -> None:
    """Write the averaged weights of the run's last checkpoint, samples.jpg, training.json and MODEL_CARD.md.

    With `data`, the Fréchet and kernel distance of `count` images to that folder. Raises `BadInput` where `run` has no
    checkpoint.
    """
    checkpoint = latest_checkpoint(run / "checkpoints")
    if checkpoint is None:
        raise BadInput(f"{run}: no checkpoint here; give the --out folder of a training run.")
    state = load_checkpoint(checkpoint)
    settings = make_settings(StyleGAN2Settings, state["settings"])
    generator = averaged_generator(settings, state)
    if not half:
        HDAPipeline(generator).save_pretrained(out, max_shard_size=SHARD)
    nn.Module.half(generator)  # diffusers' own half() warns of modules to keep in float32; there are none
    HDAPipeline(generator).save_pretrained(out, max_shard_size=SHARD, variant=None if half else "fp16")
    nn.Module.float(generator)  # what is measured is what was stored
    sheet = make_grid(to_uint8(_draw(generator, range(64), 0.7)), nrow=16, padding=2, pad_value=255)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(out / "samples.jpg", quality=92)
    record = {
        "preset": settings.preset,
        "settings": {k: v for k, v in portable(settings).items() if k not in ("preset", "data", "out")},
        "data": state["data"],
        "images_shown": state["images_shown"],
        "seconds": round(state["seconds"]),
        "hardware": state["hardware"],
        "parameters": sum(p.numel() for p in generator.parameters()),
        "weights_license": weights_license,
        "notes": list(notes),
        "distances": measure(generator, data, count, features) if data else {},
    }
    (out / "training.json").write_text(json.dumps(record, indent=2))
    write_card(out)


def averaged_generator(settings: StyleGAN2Settings, state: dict[str, Any]) -> StyleGAN2Generator:
    """The generator with its averaged weights, and the mean w of these."""
    generator = make_generator(settings)
    generator.load_state_dict(state["networks"]["generator"])
    averaged = EMAModel(generator.parameters())
    averaged.load_state_dict(state["ema"])
    averaged.copy_to(generator.parameters())
    with torch.no_grad():
        w = generator.mapping(latents(range(AVERAGED), settings.z_dim))
    generator.w_average.copy_(w.mean(0))
    return generator.eval().requires_grad_(False)


def measure(generator: StyleGAN2Generator, data: Path, count: int, features: Sequence[str]) -> dict[str, Any]:
    """Distances of `count` images, not truncated, to the images in `data` at the generator's size."""
    paths = list_images(data)
    figures: dict[str, Any] = {"images": count, "reference_images": len(paths)}
    for network in _networks(features):
        real, made = Population(network), Population(network)
        remaining = iter(paths)
        while part := list(islice(remaining, BATCH)):
            images = [square(torch.from_numpy(decode_still(p).rgb).permute(2, 0, 1), generator.size) for p in part]
            real.add(to_uint8(torch.stack(images)).permute(0, 2, 3, 1))
        for first in range(0, count, BATCH):
            seeds = range(first, min(first + BATCH, count))
            made.add(to_uint8(_draw(generator, seeds, 1.0)).permute(0, 2, 3, 1))
        distance = made.distance(real)
        figures[network.name] = {
            "title": network.title,
            network.frechet_name: distance.frechet,
            network.kernel_name: distance.kernel,
        }
    return figures


def _networks(names: Sequence[str]) -> list[Features]:
    chosen: list[FeatureName] = [n for n in names] if names else ["auto", "squeezenet"]  # type: ignore[misc]
    return [load_features(name) for name in chosen]


@torch.no_grad()
def _draw(generator: StyleGAN2Generator, seeds: Sequence[int], truncation: float) -> torch.Tensor:
    return torch.cat([generator(latents(part, generator.z_dim), truncation) for part in _parts(seeds)])


def _parts(seeds: Sequence[int]) -> list[Sequence[int]]:
    return [seeds[i : i + BATCH] for i in range(0, len(seeds), BATCH)]


def save_adaptation(trainer: HDATrainer) -> Path:
    """Write adaptation.safetensors in the run directory, from the averaged weights; returns its path."""
    s = trainer.settings
    with trainer.averaged_weights():
        change = difference(trainer.source, trainer.generator)
    kept = {k: v for k, v in portable(s).items() if k not in ("preset", "out", "device")}
    kept["domains"] = [d.place for d in trainer.domains]
    record = {
        "settings": kept,
        "weights": {d.name: d.weight for d in trainer.domains},
        "encoders": [encoder.name for encoder in trainer.encoders],
        "references": trainer.data_record()["references"],
        "samples": trainer.images_shown,
        "seconds": round(trainer.seconds),
        "progress": trainer.progress,
        "reached": trainer.reached,
        "hardware": machine(trainer.device),
    }
    adaptation = Adaptation("+".join(d.name for d in trainer.domains), fingerprint(trainer.source), change, record)
    path = s.out / "adaptation.safetensors"
    adaptation.save(path)
    return path
