"""The commands `gen models` and `gen doctor`: what can be used on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from gen.overview import checks
from gen.weights import NONE_FOUND, describe, model_folders


@dataclass(frozen=True)
class ModelsArguments:
    """List the models that can be used without a download: shipped, in ./weights, or in $GEN_WEIGHTS."""


@dataclass(frozen=True)
class DoctorArguments:
    """Check versions, devices, encoders, weights and disks. The exit status is 1 if something does not work."""


def models(arguments: Sequence[str]) -> int:
    """`gen models`."""
    tyro.cli(ModelsArguments, args=list(arguments), prog="gen models")
    entries = [describe(folder) for folder in model_folders().values()]
    rows = [(e.name, ", ".join(e.weathers), f"{e.megabytes:.1f} MB", e.licence, str(e.folder)) for e in entries]
    titles = ("model", "weathers", "size", "licence of the weights", "folder")
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        print(NONE_FOUND)
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """`gen doctor`: 0, or 1 if something does not work."""
    tyro.cli(DoctorArguments, args=list(arguments), prog="gen doctor")
    problems = 0
    for title, lines in (
        ("version", checks.versions()),
        ("device", checks.devices()),
        ("encoder", checks.encoders()),
        ("picture", checks.pictures()),
        ("weights", checks.weights()),
        ("disk", checks.disks()),
    ):
        for works, line in lines:
            problems += not works
            print(f"{title:<8} {'' if works else 'PROBLEM: '}{line}")
    print(f"\n{problems} problem{'s' * (problems != 1)}" if problems else "\nno problem found")
    return 1 if problems else 0
