"""AU-GAN's commands. Each parses its arguments before it imports torch, so that usage errors appear at once."""

import dataclasses
from collections.abc import Sequence

import tyro

from gen.augan.arguments import CompareSettings, EvaluateSettings, ExportArguments, TrainArguments
from gen.augan.invention_settings import (
    ExportInventionArguments,
    InventionEvaluation,
    InventionSettings,
    TrainInventionArguments,
)
from gen.augan.settings import AUGANSettings
from gen.augan.simulated.settings import SimulateSettings
from gen.output import output_folder
from gen.training.command import own_trainer, parse_arguments, run_to_end
from gen.training.experiment import write_text
from gen.training.settings import make_settings


def train(arguments: Sequence[str]) -> int:
    """`gen train-augan`."""
    own, kind = own_trainer(arguments, "gen.augan.training:AUGANTrainer", AUGANSettings)
    args, overrides = parse_arguments(TrainArguments, kind, arguments, "gen train-augan")
    from gen.augan.start import choose_settings

    given = {"adverse": args.adverse, "normal": args.normal, "out": args.out}
    strict = {"strict": True} if args.strict else {}
    settings = choose_settings(args.preset, given | strict | overrides, kind)
    from gen.augan.training import AUGANTrainer

    if args.fit_memory:
        from gen.augan.dry_run import fitting_accumulate

        settings = dataclasses.replace(settings, accumulate=fitting_accumulate(settings, own or AUGANTrainer))
        print(f"accumulate={settings.accumulate}")
    if args.dry_run:
        from gen.augan.dry_run import describe

        for line in describe(settings, own or AUGANTrainer):
            print(line, flush=True)
        return 0
    trainer = (own or AUGANTrainer)(settings)
    return run_to_end(trainer, f"export the model with: gen export-augan {settings.out} weights/NAME")


def export(arguments: Sequence[str]) -> int:
    """`gen export-augan`."""
    args = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-augan")
    from gen.augan.export import export_model

    export_model(args.run, args.out, args.half, args.height, args.weather, args.weights_license)
    print(f"wrote {args.out}; measure it with: gen evaluate-augan --model {args.out} --adverse DIR --normal DIR")
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """`gen evaluate-augan`."""
    settings = tyro.cli(EvaluateSettings, args=list(arguments), prog="gen evaluate-augan")
    from gen.augan.card import write_card
    from gen.augan.evaluation import evaluate as measure
    from gen.augan.evaluation import model_folder
    from gen.augan.evaluation_record import FILE_NAME
    from gen.augan.sheet import sheets_of
    from gen.augan.tables import results
    from gen.weights import kind

    result = measure(settings)
    table = results(result)
    print(table)
    if settings.out is not None:
        write_text(settings.out / "table.md", table + "\n")
        sheets = "".join(f", {name}" for name in sheets_of(settings, result))
        print(f"\nwrote {settings.out / FILE_NAME}, and table.md{sheets} beside it")
    elif kind(folder := model_folder(settings)) == "AUGANPipeline" and (folder / "training.json").exists():
        print(f"\nwrote {folder / FILE_NAME} and {write_card(folder)}")
    else:  # the card is AU-GAN's; other methods have cards of their own
        print(f"\nwrote {folder / FILE_NAME}")
    return 0


def compare(arguments: Sequence[str]) -> int:
    """`gen compare-augan`."""
    settings = tyro.cli(CompareSettings, args=list(arguments), prog="gen compare-augan")
    from gen.augan.compare import compare

    return compare(settings)


def train_invention(arguments: Sequence[str]) -> int:
    """`gen train-invention`."""
    args, overrides = parse_arguments(TrainInventionArguments, InventionSettings, arguments, "gen train-invention")
    named = {"model": args.model, "rendered": args.rendered, "out": args.out}
    settings = make_settings(InventionSettings, named, overrides)
    from gen.augan.invention_training import InventionTrainer

    trainer = InventionTrainer(settings)
    return run_to_end(trainer, f"add the map to the model with: gen export-invention {args.out} {args.model}")


def export_invention(arguments: Sequence[str]) -> int:
    """`gen export-invention`."""
    args = tyro.cli(ExportInventionArguments, args=list(arguments), prog="gen export-invention")
    from gen.augan.card import refresh_card
    from gen.augan.invention_training import export_invention

    folder = export_invention(args.run, args.model, args.default, args.calibrate)
    refresh_card(folder)
    print(f"{folder} now has an invention map; measure it with: gen evaluate-invention --model {folder} --rendered DIR")
    return 0


def evaluate_invention(arguments: Sequence[str]) -> int:
    """`gen evaluate-invention`."""
    settings = tyro.cli(InventionEvaluation, args=list(arguments), prog="gen evaluate-invention")
    from gen.augan.card import write_card
    from gen.augan.evaluation_record import FILE_NAME
    from gen.augan.invention import FOLDER
    from gen.augan.invention_evaluation import evaluate, table
    from gen.augan.invention_training import model_folder

    print(table(evaluate(settings)))
    folder = model_folder(settings.model)
    print(f"wrote {(settings.out or folder / FOLDER) / FILE_NAME}")
    if settings.out is None and (folder / FILE_NAME).is_file():
        print(f"wrote {write_card(folder)}")
    return 0


def simulate(arguments: Sequence[str]) -> int:
    """`gen simulate-weather`."""
    settings = tyro.cli(SimulateSettings, args=list(arguments), prog="gen simulate-weather")
    from gen.augan.simulated.pairs import count_pairs, find_days, write_pairs, write_preview

    find_days(settings, quiet=True)  # reports mistakes before the output folder is made
    with output_folder(settings.out):
        if settings.preview:
            print(write_preview(settings))
            return 0
        made, broken = write_pairs(settings)
    days, frames = count_pairs(settings)
    print(f"{settings.out}: {days} days and {frames} frames of {settings.weather}.")
    if days > made:
        print(f"{days - made} of the days are not made of the present frames of {settings.days}; they stay.")
    for reason in broken:
        print(f"left out: {reason}")
    return 1 if broken else 0
