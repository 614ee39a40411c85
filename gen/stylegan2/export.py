"""Turn a run directory into a model folder: averaged weights, samples, distances, model card."""

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn
from torchvision.utils import make_grid

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.media.left_out import LeftOut
from gen.media.resize import to_picture, to_uint8
from gen.metrics.distances import Population, list_images
from gen.metrics.features import Features, load_features
from gen.metrics.names import FeatureName
from gen.output import output_folder
from gen.provenance import portable
from gen.stylegan2.card import write_card
from gen.stylegan2.networks import NoisyGenerator, StyleGAN2Generator
from gen.stylegan2.photos import read_square
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import batched, latents, make_generator
from gen.training import longer
from gen.training.averaged import load_averaged, load_last_state, save_variants
from gen.training.experiment import write_text
from gen.training.frames import folder_name
from gen.training.model_folder import save_model
from gen.training.own_code import recorded_code, settings_of_run
from gen.training.settings import TrainerSettings
from gen.weights import INDEX

AVERAGED = 10_000
"""Number of latents whose mean w becomes `w_average`."""

BATCH = 32
SAMPLES = "samples.jpg"


def export_model(
    run: Path,
    out: Path,
    half: bool,
    data: Path | None,
    count: int,
    features: Sequence[str],
    weights_license: str,
    notes: Sequence[str] = (),
    device: str = "auto",
) -> None:
    """Write the averaged weights of the run's last checkpoint, samples.jpg, training.json and MODEL_CARD.md.

    `half` stores float16 only, else both float32 and float16 are written. With `data`, the card has the Fréchet and
    kernel distance between `count` generated images and that folder, measured in the networks named by `features`.
    Raises `BadInput` where `run` has no checkpoint.
    """
    state = load_last_state(run, "train-stylegan2")
    settings, more = settings_of_run(StyleGAN2Settings, state)
    record = training_record(settings, state, more, weights_license, notes)
    how = {"count": count, "features": features, "device": pick_device(device)}
    measured = partial(measure, data=data, **how) if data else None
    with output_folder(out):
        write_model(averaged_generator(settings, state), out, half, record, measured)
        write_card(out)


def training_record(
    settings: TrainerSettings,
    state: Mapping[str, Any],
    more: Mapping[str, Any],
    weights_license: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """What training.json says of a run; `more`: settings of a trainer of the user's own."""
    return {
        "preset": settings.preset,
        "settings": {k: v for k, v in portable(settings).items() if k not in ("preset", "data", "out")} | dict(more),
        **recorded_code(state),
        **longer.recorded(state),
        "data": state["data"],
        "images_shown": state["images_shown"],
        "seconds": round(state["seconds"]),
        "hardware": state["hardware"],
        "weights_license": weights_license,
        "notes": list(notes),
    }


def write_model(
    generator: NoisyGenerator,
    out: Path,
    half: bool,
    record: dict[str, Any],
    distances: Callable[[NoisyGenerator], dict[str, Any]] | None = None,
) -> None:
    """Write the generator, samples.jpg and training.json: `record`, with its parameters and the measured `distances`.

    Raises `BadSetting` if pictures in `out` would be replaced.
    """
    if (out / SAMPLES).exists() and not (out / INDEX).is_file():
        raise BadSetting(f"{out / SAMPLES}: a file that gen did not write would be replaced; choose another folder.")
    stored = copy.deepcopy(generator)
    nn.Module.float(nn.Module.half(stored))  # so the samples and distances are those of the float16 weights
    sheet = make_grid(to_uint8(_draw(stored, range(64), 0.7)), nrow=16, padding=2, pad_value=255)
    parameters = sum(p.numel() for p in generator.parameters())
    record = record | {"parameters": parameters, "distances": distances(stored) if distances else {}}
    save_generator(generator, out, half)  # only now: a measurement that fails leaves the old model as it is
    with write_atomically(out / SAMPLES) as partial_file:
        to_picture(sheet).save(partial_file, quality=92)
    write_text(out / "training.json", json.dumps(record, indent=2))


def save_generator(generator: NoisyGenerator, out: Path, half: bool) -> None:
    """Write a model folder that `HDAPipeline.from_pretrained` loads; afterwards `generator` is in float16."""
    # Written by hand, because the pipeline that reads it belongs to gen.hda, which lies above this package.
    index = {
        "_class_name": "HDAPipeline",
        "_diffusers_version": diffusers.__version__,
        "generator": [type(generator).__module__, type(generator).__name__],
    }

    def save(folder: Path) -> None:
        save_variants(generator, [generator], folder / "generator", half)
        write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")
        # What HDAPipeline has saved there is of another generator, or would be drawn in place of the card's.
        if (out / INDEX).is_file():
            shutil.rmtree(out / "adaptations", ignore_errors=True)

    save_model(out, save, INDEX)


def averaged_generator(settings: StyleGAN2Settings, state: dict[str, Any]) -> StyleGAN2Generator:
    """The generator with its averaged weights; `w_average` is the mean w of its own mapping network."""
    generator = make_generator(settings)
    generator.load_state_dict(state["networks"]["generator"])
    load_averaged(generator, state)
    with torch.no_grad():
        w = generator.mapping(latents(range(AVERAGED), settings.z_dim))
    generator.w_average.copy_(w.mean(0))
    return generator.eval().requires_grad_(False)


def measure(
    generator: NoisyGenerator, data: Path, count: int, features: Sequence[str], device: torch.device
) -> dict[str, Any]:
    """Distances between `count` images, drawn without truncation, and the images in `data` at the generator's size.

    Images that cannot be read are left out with a warning. Raises `BadInput` if all are.
    """
    paths, left_out = list_images(data), LeftOut()
    figures: dict[str, Any] = {"images": count, "folder": folder_name(data)}
    nn.Module.to(generator, device)  # diffusers types its own `to` for no argument
    for network in (network.to(device) for network in _networks(features)):
        real, generated = Population(network), Population(network)
        for part in batched(paths, BATCH):
            read = [left_out.read(path, lambda path: read_square(path, generator.size)) for path in part]
            if images := [image for image in read if image is not None]:
                real.add(to_uint8(torch.stack(images)).permute(0, 2, 3, 1))
        left_out.check(data, len(paths))
        for seeds in batched(range(count), BATCH):
            generated.add(to_uint8(_draw(generator, seeds, 1.0)).permute(0, 2, 3, 1))
        distance = generated.distance(real)
        figures[network.name] = {
            "title": network.title,
            network.frechet_name: distance.frechet,
            network.kernel_name: distance.kernel,
        }
    return figures | {"reference_images": len(paths) - len(left_out)}


def _networks(names: Sequence[str]) -> list[Features]:
    selected: list[FeatureName] = [n for n in names] if names else ["auto", "squeezenet"]  # type: ignore[misc]
    return [load_features(name) for name in selected]


@torch.no_grad()
def _draw(generator: NoisyGenerator, seeds: Sequence[int], truncation: float) -> torch.Tensor:
    device = generator.w_average.device
    z = [latents(part, generator.z_dim).to(device) for part in batched(seeds, BATCH)]
    return torch.cat([generator(part, truncation) for part in z])
