"""The command lines of StyleGAN2 and of hybrid domain adaptation."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gen.errors import BadInput, BadSetting
from gen.training.settings import make_settings, parse_overrides, read_preset

PRESETS = Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train StyleGAN2 on a folder of images. The same command again goes on where it stopped."""

    data: Path
    """Folder of images of one kind, for example aligned faces."""
    out: Path
    """Run directory, for example runs/faces64."""
    preset: Literal["config-f", "faces64"] = "config-f"
    """config-f: the published size at 256 pixels, for a GPU; faces64: two CPU cores, some hours."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of StyleGAN2Settings as field=value, for example --set size=128; may be given several times."""
    strict: bool = False
    """Refuse a folder with pictures that cannot be used, instead of leaving them out."""


def train_stylegan2(arguments: Sequence[str]) -> int:
    """`gen train-stylegan2`."""
    chosen = tyro.cli(TrainArguments, args=list(arguments), prog="gen train-stylegan2")
    from gen.hda.gan_training import StyleGAN2Settings, StyleGAN2Trainer

    given = {"preset": chosen.preset, "data": chosen.data, "out": chosen.out}
    given |= {"strict": True} if chosen.strict else {}
    preset = read_preset(PRESETS / f"{chosen.preset}.yaml")
    settings = make_settings(StyleGAN2Settings, preset, given, parse_overrides(chosen.set))
    trainer = StyleGAN2Trainer(_in_a_folder(settings))
    trainer.fit()
    if not trainer.finished:
        return _stopped(trainer)
    print(f"done; export the model with: gen export-stylegan2 {settings.out} weights/NAME")
    return 0


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Turn the last checkpoint of a run into a model folder: weights, samples, figures, model card."""

    run: tyro.conf.Positional[Path]
    """Run directory of `gen train-stylegan2`."""
    out: tyro.conf.Positional[Path]
    """Model folder, for example weights/stylegan2-faces64."""
    half: bool = False
    """Store float16 alone, half the size; it is loaded as float32 unless told otherwise."""
    data: Path | None = None
    """Folder of the training images, to measure the Fréchet distance to; none: it is not measured."""
    distance_images: int = 5000
    """Images drawn for it."""
    features: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Feature networks to measure in: inception, efficientnet-lite0, squeezenet; none: auto and squeezenet."""
    weights_license: str = "not stated"
    """Licence of the weights, one line, for the card."""
    note: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A sentence on the model's limits, for the card; may be given several times."""


def export_stylegan2(arguments: Sequence[str]) -> int:
    """`gen export-stylegan2`."""
    chosen = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-stylegan2")
    from gen.hda.export import export_model

    export_model(
        chosen.run,
        chosen.out,
        chosen.half,
        chosen.data,
        chosen.distance_images,
        chosen.features,
        chosen.weights_license,
        chosen.note,
    )
    print(f"{chosen.out} written; look at it with: gen generate --model {chosen.out} --out out")
    return 0


@dataclasses.dataclass(frozen=True)
class AdaptArguments:
    """Adapt a generator to a hybrid of domains, each known by a few images. The same command again goes on."""

    source: str
    """The generator to begin with: a model's name or folder, a rosinality .pt or an NVlabs .pkl."""
    domain: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """name=DIR[:alpha], a folder of reference images and its weight; or name=text:WORDS[:alpha] with --encoder clip."""
    out: Path
    """Run directory, for example runs/sketched-sunglasses."""
    encoder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Frozen encoders, family[:model][@pixels]: efficientnet-lite0, efficientnet-lite0-style (the default is both),
    efficientnet-lite0-grid, squeezenet, clip, dinov2, timm:MODEL. Several are an ensemble."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of HDASettings as field=value, for example --set direction_weight=0.5 --set layers=affine."""
    full: bool = False
    """Also write a model folder, source and adaptation, as OUT/model, and both in one as OUT/model.pt, in rosinality's
    format for other tools."""
    check: bool = False
    """Only tell what the references say: ranks, distances, angles between the domains, warnings."""


def adapt(arguments: Sequence[str]) -> int:
    """`gen adapt`."""
    chosen = tyro.cli(AdaptArguments, args=list(arguments), prog="gen adapt")
    from gen.hda.check import report
    from gen.hda.checkpoints import save_rosinality
    from gen.hda.export import save_adaptation
    from gen.hda.pipeline import HDAPipeline
    from gen.hda.training import HDASettings, HDATrainer

    given: dict[str, Any] = {"source": chosen.source, "domains": chosen.domain, "out": chosen.out}
    if chosen.encoder:
        given["encoders"] = chosen.encoder
    settings = _in_a_folder(make_settings(HDASettings, given, parse_overrides(chosen.set)))
    pipe = HDAPipeline.from_pretrained(settings.source)
    if pipe.adaptations:
        raise BadSetting(
            f"--source {settings.source}: this model is adapted already ({', '.join(pipe.adaptations)}); adapt its "
            f"source generator, and blend the adaptations with gen generate --adaptation A:0.5 --adaptation B:0.5."
        )
    trainer = HDATrainer(settings, pipe.generator)
    trainer.accelerator.print(report(trainer))
    if chosen.check:
        return 0
    trainer.fit()
    if not trainer.finished:
        return _stopped(trainer)
    if not trainer.accelerator.is_main_process:
        return 0
    path = save_adaptation(trainer)
    print(f"{trainer.ending()}\nwritten: {path}")
    if chosen.full:
        pipe.load_adaptation(path)
        pipe.save_pretrained(settings.out / "model")
        save_rosinality(pipe.generator, settings.out / "model.pt")
        print(f"written: {settings.out / 'model'} and model.pt")
    print(f"\ndraw with it: gen generate --model {settings.source} --adaptation {path} --out out")
    return 0


@dataclasses.dataclass(frozen=True)
class GenerateArguments:
    """Draw images: single files, a same-seed grid of source and adapted, a latent walk, a morph between domains."""

    model: str = "stylegan2-faces64"
    """A model's name or folder, a rosinality .pt or an NVlabs .pkl."""
    adaptation: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FILE[:strength] written by `gen adapt`; several are blended."""
    out: Path = Path("out/generated")
    """Folder for the pictures."""
    seeds: str = "0-15"
    """Numbers and ranges, for example 0-15,20."""
    latents: Path | None = None
    """File of latents written by `gen invert`, instead of seeds."""
    truncation: float = 0.7
    """1: all the variety; 0.7: better pictures; 0: the average."""
    strengths: str = "0,0.5,1"
    """Strengths of the rows of the grid, as multiples of those given with the adaptations."""
    walk: bool = False
    """Also a clip that wanders through the seeds and returns."""
    morph: bool = False
    """Also a clip in which the seeds go from the source to the adapted domain and back; with several adaptations, from
    one to the next and back to the first."""
    seconds: float = 6.0
    """Length of a clip."""
    rate: int = 24
    """Frames a second."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: the GPU where there is one."""


def generate(arguments: Sequence[str]) -> int:
    """`gen generate`."""
    chosen = tyro.cli(GenerateArguments, args=list(arguments), prog="gen generate")
    from gen.hda.drawing import draw_all

    return draw_all(chosen)


@dataclasses.dataclass(frozen=True)
class InvertArguments:
    """Find the latent of real photos in the source generator, and draw them in the adapted domain."""

    photos: tyro.conf.Positional[tuple[Path, ...]]
    """Photos that show what the generator draws, in the middle square, aligned as its training images."""
    model: str = "stylegan2-faces64"
    """A model's name or folder, a rosinality .pt or an NVlabs .pkl."""
    adaptation: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FILE[:strength] written by `gen adapt`."""
    out: Path = Path("out/inverted")
    """Folder: latents.safetensors, and photo | inverted | adapted for each photo."""
    steps: int = 500
    """Optimiser steps; 1000 is the published number."""
    extended: bool = True
    """A latent for each layer (W+): closer to the photo; otherwise one for all (W): easier to edit."""
    seed: int = 0
    """Seed of the latent noise."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: the GPU where there is one."""


def invert(arguments: Sequence[str]) -> int:
    """`gen invert`."""
    chosen = tyro.cli(InvertArguments, args=list(arguments), prog="gen invert")
    from gen.hda.drawing import invert_all

    return invert_all(chosen)


def evaluate(arguments: Sequence[str]) -> int:
    """`gen evaluate-hda`."""
    from gen.hda.evaluation import EvaluateSettings, evaluate_table

    evaluate_table(tyro.cli(EvaluateSettings, args=list(arguments), prog="gen evaluate-hda"))
    return 0


def parse_adaptation(text: str) -> tuple[Path, float]:
    """FILE[:strength] -> the file and its strength, 1 if not given."""
    place, colon, last = text.rpartition(":")
    if colon and not Path(text).exists():
        try:
            return Path(place), float(last)
        except ValueError as error:
            raise BadInput(
                f"--adaptation {text}: no such file; after a colon comes a strength, for example :0.5."
            ) from error
    return Path(text), 1.0


def _in_a_folder(settings: Any) -> Any:
    check_folder(settings.out)
    return settings


def check_folder(out: Path) -> None:
    """Raises `BadSetting` where `out` is a file."""
    if out.exists() and not out.is_dir():
        raise BadSetting(f"--out {out}: this is a file; a folder is needed.")


def _stopped(trainer: Any) -> int:
    print(f"stopped at {trainer.images_shown} of {trainer.total_images} images; the same command goes on from here.")
    return 130
