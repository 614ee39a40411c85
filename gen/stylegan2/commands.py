"""The commands `gen train-stylegan2` and `gen export-stylegan2`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gen.device_names import Device
from gen.licences import LicenceArgument
from gen.stylegan2.settings import StyleGAN2Settings
from gen.training.command import OwnTrainer, own_trainer, parse_arguments, run_to_end


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train StyleGAN2 on a folder of images. Run the same command again to resume."""

    data: Path
    """Folder of images of one kind, for example aligned faces."""
    out: Path
    """Run directory, for example runs/faces64."""
    preset: Literal["config-f", "faces64"] = "config-f"
    """config-f: the published size at 256 pixels, for a GPU; faces64: small, a few hours on two CPU cores."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set size=128 batch=4. `--set help` lists all settings."""
    strict: bool = False
    """Stop with an error if an image cannot be used, instead of leaving it out."""
    trainer: OwnTrainer = None
    """A trainer of your own: a class in a file of yours that extends StyleGAN2Trainer; see docs/methods.md."""


def train_stylegan2(arguments: Sequence[str]) -> int:
    """`gen train-stylegan2`."""
    own, kind = own_trainer(arguments, "gen.stylegan2.training:StyleGAN2Trainer", StyleGAN2Settings)
    args, overrides = parse_arguments(TrainArguments, kind, arguments, "gen train-stylegan2")
    given = {"data": args.data, "out": args.out}
    given |= {"strict": True} if args.strict else {}
    settings = kind.from_preset(args.preset, **given | overrides)
    from gen.stylegan2.training import StyleGAN2Trainer  # only now: torch takes seconds to import

    trainer = (own or StyleGAN2Trainer)(settings)
    return run_to_end(trainer, f"export the model with: gen export-stylegan2 {settings.out} weights/NAME")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorExport:
    """What the exports of all generators take."""

    half: bool = False
    """Store only float16, a third of the size; it is loaded as float32 by default."""
    data: Path | None = None
    """Folder of images, such as those of training, to measure the Fréchet distance to. Default: no measurement."""
    distance_images: int = 5000
    """Images to generate for the measurement."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
    features: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Feature networks of the distance: inception, efficientnet-lite0, squeezenet. Default: auto and squeezenet."""
    weights_license: LicenceArgument = "unstated"
    note: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A sentence on the limits of the model, for the model card; may be repeated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(GeneratorExport):
    """Turn the last checkpoint of a run into a model folder: weights, samples, measured distances, model card."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory of `gen train-stylegan2`."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/stylegan2-faces64."""


def export_stylegan2(arguments: Sequence[str]) -> int:
    """`gen export-stylegan2`."""
    args = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-stylegan2")
    from gen.stylegan2.export import export_model

    export_model(
        args.run,
        args.out,
        args.half,
        args.data,
        args.distance_images,
        args.features,
        args.weights_license,
        args.note,
        args.device,
    )
    print(f"wrote {args.out}; draw images with: gen generate --model {args.out} --out out")
    return 0
