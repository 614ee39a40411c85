"""The commands `gen models` and `gen doctor`: what can be used on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gen.errors import BadInput, unknown
from gen.overview import checks
from gen.weights import NONE_FOUND, ModelEntry, describe, kind, model_folders, read_card

KINDS = {"HDAPipeline": "generator", "Classifier": "precursor", "WeatherHead": "classifier"}
"""Class that a model was saved from -> what it is; every other pipeline translates, those of other packages too."""


@dataclass(frozen=True)
class ModelsArguments:
    """List the models that can be used without a download: shipped, in ./weights, or in $GEN_WEIGHTS."""

    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME")] = None
    """Show the card of this model instead of the list."""


@dataclass(frozen=True)
class DoctorArguments:
    """Check versions, devices, encoders, weights and disks. The exit status is 1 if something does not work."""


def models(arguments: Sequence[str]) -> int:
    """`gen models`."""
    chosen = tyro.cli(ModelsArguments, args=list(arguments), prog="gen models").name
    folders = model_folders()
    if chosen is not None:
        print(_card(chosen, folders))
        return 0
    entries = [describe(folder) for folder in folders.values()]
    rows = [
        (e.name, _what(e), ", ".join(e.weathers), f"{e.megabytes:.1f} MB", e.licence, str(e.folder)) for e in entries
    ]
    titles = ("model", "what it is", "weathers", "size", "licence of the weights", "folder")
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        print(NONE_FOUND)
    return 0


def _card(name: str, folders: Mapping[str, Path]) -> str:
    """The card of a model. Raises `BadInput`."""
    folder = folders.get(name, Path(name))
    card = read_card(folder)
    if card is None:
        here = name in folders or kind(folder) is not None
        raise BadInput(f"{folder}: this model has no card." if here else unknown("model", name, folders))
    return card


def _what(entry: ModelEntry) -> str:
    """What a model is, in a word or two."""
    if (entry.folder / "adaptation.safetensors").is_file():
        return "adaptation"
    return KINDS.get(entry.kind or "", "network" if entry.kind is None else "translator")


def doctor(arguments: Sequence[str]) -> int:
    """`gen doctor`: 0, or 1 if something does not work."""
    tyro.cli(DoctorArguments, args=list(arguments), prog="gen doctor")
    problems = 0
    for title, lines in (
        ("version", checks.versions()),
        ("device", checks.devices()),
        ("encoder", checks.encoders()),
        ("network", checks.networks()),
        ("picture", checks.pictures()),
        ("weights", checks.weights()),
        ("disk", checks.disks()),
    ):
        for works, line in lines:
            problems += not works
            print(f"{title:<8} {'' if works else 'PROBLEM: '}{line}")
    print(f"\n{problems} problem{'s' * (problems != 1)}" if problems else "\nno problem found")
    return 1 if problems else 0
