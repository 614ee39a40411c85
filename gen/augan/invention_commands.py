"""The command lines of training, exporting and evaluating an invention map."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from gen.augan.invention_training import InventionSettings, InventionTrainer, export_invention, model_folder
from gen.training.settings import make_settings, parse_overrides


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Teach a model which parts of its translations to clear day are made up, on rendered pairs.

    The translator stays as it is. The same command again goes on where it stopped.
    """

    model: str
    """Name or folder of the translator that the map is for."""
    rendered: Path
    """Pairs of `gen render-street` or `gen simulate-weather`, about as many rows as the model works at (192 for
    augan-night2day)."""
    out: Path
    """Run directory, for example runs/invention."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of InventionSettings as field=value, for example --set images=5000; may be given several times."""


def train(arguments: Sequence[str]) -> int:
    """`gen train-invention`."""
    chosen = tyro.cli(TrainArguments, args=list(arguments), prog="gen train-invention")
    named = {"model": chosen.model, "rendered": chosen.rendered, "out": chosen.out}
    trainer = InventionTrainer(make_settings(InventionSettings, named, parse_overrides(chosen.set)))
    trainer.fit()
    if not trainer.finished:
        print(
            f"stopped at {trainer.images_shown} of {trainer.total_images} images; the same command goes on from here."
        )
        return 130
    print(f"done; put the map into the model with: gen export-invention {chosen.out} {chosen.model}")
    return 0


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Put a trained invention map into the folder of the model that it was trained for."""

    run: tyro.conf.Positional[Path]
    """Run directory of `gen train-invention`."""
    model: tyro.conf.Positional[str]
    """Name or folder of the model; it gets a folder invention/."""
    default: bool = False
    """Show this map, and not the cycle uncertainty, where no map is asked for by name."""
    calibrate: Path | None = None
    """Folder of `gen render-street` frames that neither the translator nor the map was trained on: the map's numbers
    are scaled so that they hold there."""


def export(arguments: Sequence[str]) -> int:
    """`gen export-invention`."""
    chosen = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-invention")
    folder = export_invention(chosen.run, chosen.model, chosen.default, chosen.calibrate)
    print(f"{folder} has an invention map; measure it with: gen evaluate-invention --model {folder} --rendered DIR")
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """`gen evaluate-invention`."""
    from gen.augan.card import write_card
    from gen.augan.evaluation import FILE_NAME
    from gen.augan.invention_evaluation import InventionEvaluation, table
    from gen.augan.invention_evaluation import evaluate as measure

    chosen = tyro.cli(InventionEvaluation, args=list(arguments), prog="gen evaluate-invention")
    print(table(measure(chosen)))
    folder = model_folder(chosen.model)
    if chosen.out is None and (folder / FILE_NAME).is_file():
        print(f"{write_card(folder)} written")
    return 0
