"""The command lines of CycleGAN: training, export, and conversion of public weights."""

from collections.abc import Sequence

import tyro

from gen.cyclegan.settings import ConvertArguments, CycleGANSettings, ExportArguments, TrainArguments
from gen.sizes import parse_size
from gen.training.command import own_trainer, parse_arguments, run_to_end


def train(arguments: Sequence[str]) -> int:
    """`gen train-cyclegan`."""
    own, kind = own_trainer(arguments, "gen.cyclegan.method:CycleGANTrainer", CycleGANSettings)
    args, overrides = parse_arguments(TrainArguments, kind, arguments, "gen train-cyclegan")
    given = {"adverse": args.adverse, "normal": args.normal, "out": args.out}
    settings = kind.from_preset(args.preset, **given | overrides)
    from gen.cyclegan.method import CycleGANTrainer

    trainer = (own or CycleGANTrainer)(settings)
    return run_to_end(trainer, f"export the model with: gen export-cyclegan {settings.out} weights/NAME")


def export(arguments: Sequence[str]) -> int:
    """`gen export-cyclegan`."""
    args = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-cyclegan")
    from gen.cyclegan.export import export_model

    export_model(args.run, args.out, args.half, args.weather, args.weights_license)
    print(f"wrote {args.out}; translate with: gen translate FRAMES OUT --model {args.out}")
    return 0


def convert(arguments: Sequence[str]) -> int:
    """`gen convert`."""
    args = tyro.cli(ConvertArguments, args=list(arguments), prog="gen convert")
    from gen.cyclegan.convert import convert

    width, height = parse_size(args.size, "--size")
    convert(args.generator, args.out, args.direction, args.back, (height, width), args.weather)
    print(f"wrote {args.out}; translate with: gen translate FRAMES OUT --model {args.out}")
    return 0
