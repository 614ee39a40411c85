"""Options of the SMOS commands. This module imports no torch, so that `--help` answers at once."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gen.licences import LicenceArgument
from gen.smos.algorithms import registry

Engine = Literal["order", "ray"]


def _algorithms() -> Any:
    """The registered names, for help and completion, or any other text: it may be FILE.py:CLASS."""
    return tyro.extras.literal_type_from_choices(list(registry.ALGORITHMS)) | str


AlgorithmName = Annotated[
    str,
    tyro.conf.arg(
        help=f"Algorithm, if no --method is given. {registry.summaries()}; FILE.py:CLASS: a class in your own file.",
        help_behavior_hint="(default: smos)",  # tyro would print ['smos']
        constructor_factory=_algorithms,  # called when the command line is parsed: plugins may have registered some
    ),
]


@dataclasses.dataclass(frozen=True)
class TableArguments:
    """Leave each domain out in turn, train on the others, measure on it. Run the same command again to resume."""

    data: Path
    """Folder ROOT/DOMAIN/CLASS/IMAGE: PACS, VLCS, OfficeHome, TerraIncognita, DomainNet, or your own."""
    out: Path = Path("runs/smos")
    """Output folder for the runs, table.md and results.json."""
    target: str = "all"
    """Domains to leave out, separated by commas, or all."""
    algorithm: AlgorithmName = "smos"
    precursor: str | None = None
    """Frozen classifier for --algorithm: a folder, or the name of a shipped one. Default: with --preset cpu, the
    shipped smd-precursor, if the algorithm needs one."""
    method: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A row of the table: ALGORITHM, or NAME=ALGORITHM:PRECURSOR,FIELD=VALUE,...; may be repeated. Without
    :PRECURSOR, as --precursor. ALGORITHM may be FILE.py:CLASS, or 'smos(ALGORITHM)' for another algorithm with the
    terms of smos."""
    seeds: str = "0,1,2"
    """Seeds: numbers and ranges, for example 0-3,7."""
    preset: Literal["domainbed", "swad", "miro", "smos", "cpu"] = "smos"
    """domainbed, swad, miro, smos: the settings of that repository, ResNet-50 at 224 pixels, for a GPU; cpu: ours,
    EfficientNet-Lite0 at 96 pixels, a few minutes per run."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set js_weight=5; may be repeated. `--set help` lists all settings."""
    core_minutes: float | None = None
    """Add a row NAME@Nmin for each method, whose runs each take N minutes of processor time instead of the steps: a
    method with dearer steps makes fewer of them."""
    engine: Engine = "order"
    """order: one run after another; ray: as Ray Tune trials, on all machines of its cluster."""
    gpus: float | None = None
    """GPUs per trial, with --engine ray. Default: 1 if there is a GPU, else 0."""


@dataclasses.dataclass(frozen=True)
class PrecursorArguments:
    """Train a precursor: a classifier of game scenes in all styles. Run the same command again to resume."""

    data: str
    """Folder written by `gen render-smd`, or `scenes`: render during training."""
    out: Path
    """Run directory."""
    val: Path | None = None
    """Folder written by `gen render-smd --split val`: held-out levels to measure on."""
    leave_out: str | None = None
    """A style to leave out of training and measure, or `each`: one run per style, then one with all styles."""
    scratch: bool = False
    """Start from random weights. Preset smos freezes the batch norms nevertheless, as its repository does; preset cpu
    trains them. --set frozen_norms=... chooses otherwise."""
    preset: Literal["smos", "cpu"] = "smos"
    """smos: the settings of SMOS's repository, ResNet-50 at 224 pixels, for a GPU; cpu: ours, EfficientNet-Lite0 at 96
    pixels."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value; may be repeated. `--set help` lists all settings."""
    export: Path | None = None
    """Write the classifier and its model card to this folder."""
    weights_license: LicenceArgument = "research"


@dataclasses.dataclass(frozen=True)
class AnalyseArguments:
    """Measure how far apart domains are in the features of a table's networks, and correlate that with accuracy."""

    table: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="TABLE")]
    """The --out folder of `gen train-smos`."""
    data: Path
    """The data set of the table; of a table with --set val=DIR, that DIR."""
    out: Path
    """Output folder for analysis.md, analysis.json and the embeddings."""
    images: int = 500
    """Most images per domain, taken from its held-out fifth; at least 20."""
    baseline: str = "erm"
    """Method of the table that the others are compared with."""
