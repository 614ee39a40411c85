"""The command lines of domain generalisation: a precursor, a table of leave-one-out runs, what the networks see."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from gen.errors import BadSetting
from gen.training.settings import make_settings, parse_overrides, read_preset

if TYPE_CHECKING:
    from gen.smos.training import SMOSSettings

PRESETS = Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class TableArguments:
    """Leave each domain out in turn, train on the others, measure on it. The same command goes on where it stopped."""

    data: Path
    """Folder ROOT/DOMAIN/CLASS/IMAGE: PACS, VLCS, OfficeHome, TerraIncognita, DomainNet, or your own."""
    out: Path = Path("runs/smos")
    """Folder for the runs, table.md and results.json."""
    target: str = "all"
    """Domain to leave out, several with commas between, or all."""
    algorithm: Literal["erm", "miro", "miro_precursor", "smos", "smos_kl", "smos_released"] = "smos"
    """What is trained, where no --method is given."""
    precursor: str | None = None
    """Classifier that it is grounded in: a folder, or a shipped one's name, for example smd-precursor."""
    method: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A row of a table: erm, miro, or NAME=ALGORITHM:PRECURSOR,FIELD=VALUE ...; may be given several times."""
    seeds: str = "0,1,2"
    """With commas between."""
    preset: Literal["published", "cpu"] = "published"
    """published: ResNet-50 at 224 pixels, for a GPU; cpu: EfficientNet-Lite0 at 96 pixels, a few minutes a run."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of SMOSSettings as field=value, for example --set js_weight=5; may be given several times."""
    engine: Literal["order", "ray"] = "order"
    """order: one run after the other; ray: as trials of Ray Tune, on all the machines of its cluster."""
    gpus: float | None = None
    """GPUs of a trial, with --engine ray; none: one where there are any."""


def train_smos(arguments: Sequence[str]) -> int:
    """`gen train-smos`: 0 the table is whole, 130 stopped by Ctrl-C."""
    chosen = tyro.cli(TableArguments, args=list(arguments), prog="gen train-smos")
    from accelerate import PartialState

    from gen.smos.table import collect, parse_method, plan, run_cells

    if chosen.method and chosen.precursor:
        raise BadSetting("--precursor belongs to --algorithm; with --method give NAME=ALGORITHM:PRECURSOR.")
    one = f"{chosen.algorithm}={chosen.algorithm}:{chosen.precursor}" if chosen.precursor else chosen.algorithm
    methods = [parse_method(text) for text in chosen.method or (one,)]
    settings = _settings(chosen.preset, {"data": chosen.data, "out": chosen.out}, chosen.set)
    cells = plan(settings, methods, chosen.target, _seeds(chosen.seeds))
    settings.out.mkdir(parents=True, exist_ok=True)
    try:
        whole = run_cells(settings, cells, chosen.engine, chosen.gpus)
    finally:
        if PartialState().is_main_process:
            collect(settings, cells)
            print((settings.out / "table.md").read_text())
    return 0 if whole else 130


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(text)
        return seeds
    except ValueError as error:
        raise BadSetting(
            f"--seeds {text}: give different whole numbers with commas between, for example 0,1,2."
        ) from error


def _settings(preset: str, given: dict[str, Any], pairs: Sequence[str]) -> "SMOSSettings":
    from gen.smos.datasets import find_benchmark
    from gen.smos.training import SMOSSettings

    layers = [read_preset(PRESETS / f"{preset}.yaml")]
    overrides = parse_overrides(pairs)
    if preset == "published":
        dataset = find_benchmark(Path(given["data"]), overrides.get("dataset", "auto"))[0]
        layers.append(read_preset(PRESETS / "protocol.yaml").get(dataset, {}))
    return make_settings(SMOSSettings, *layers, {"preset": preset, **given}, overrides)


@dataclasses.dataclass(frozen=True)
class PrecursorArguments:
    """Train a precursor: a classifier of game scenes in all styles. The same command goes on where it stopped."""

    data: str
    """Folder of `gen render-smd`, or `scenes`: rendered while it learns."""
    out: Path
    """Run directory."""
    val: Path | None = None
    """Folder of `gen render-smd --split val`: levels that are not trained on, to measure."""
    leave_out: str | None = None
    """A style that is not trained on but measured, or `each`: one run for each style, then the one with all."""
    scratch: bool = False
    """Begin with random weights, and let batch norms learn."""
    preset: Literal["precursor", "precursor-cpu"] = "precursor"
    """precursor: ResNet-50 at 224 pixels, for a GPU; precursor-cpu: EfficientNet-Lite0 at 96 pixels."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of SMOSSettings as field=value; may be given several times."""
    export: Path | None = None
    """Write the classifier to this model folder, with its card."""
    weights_license: str = "research use only"
    """Of the exported weights."""


def train_precursor(arguments: Sequence[str]) -> int:
    """`gen train-precursor`: 0 done, 130 stopped by Ctrl-C."""
    chosen = tyro.cli(PrecursorArguments, args=list(arguments), prog="gen train-precursor")
    from gen.smos.datasets import find_benchmark
    from gen.smos.export import export_precursor
    from gen.smos.training import SMOSTrainer

    if chosen.leave_out and (chosen.data == "scenes" or chosen.val is None):
        raise BadSetting("--leave-out needs folders: --data of `gen render-smd` and --val of its --split val.")
    if chosen.export and chosen.data != "scenes" and chosen.val is None:
        raise BadSetting("--export needs --val, levels that are not trained on: a card without their accuracy is none.")
    first: dict[str, Any] = {"data": chosen.data, "val": chosen.val, "dataset": "any", "swad": False}
    scratch = {"weights": "none", "frozen_norms": False} if chosen.scratch else {}
    styles = list(find_benchmark(Path(chosen.data), "any")[1]) if chosen.leave_out == "each" else [chosen.leave_out]
    found: dict[str, float] = {}
    for style in filter(None, styles):
        own = {
            **first,
            **scratch,
            "out": chosen.out / f"without-{style}",
            "target": style,
            "cache": chosen.out / "cache",
        }
        trainer = SMOSTrainer(_settings(chosen.preset, own, chosen.set))
        trainer.fit()
        if not trainer.finished:
            return 130
        found[style] = float(trainer.report()["rules"][trainer.rule]["accuracy"] or 0)
        print(f"{style} left out: {found[style]:.1%} of its unseen levels are right")
    if chosen.leave_out not in (None, "each"):
        return 0
    own = {**first, **scratch, "out": chosen.out, "cache": chosen.out / "cache"}
    trainer = SMOSTrainer(_settings(chosen.preset, own, chosen.set))
    trainer.fit()
    if not trainer.finished:
        return 130
    trainer.report()
    if chosen.export and trainer.accelerator.is_main_process:
        export_precursor(trainer, chosen.export, found, chosen.weights_license)
        print(f"written: {chosen.export}")
    return 0


@dataclasses.dataclass(frozen=True)
class AnalyseArguments:
    """How far apart are the domains in the features of a table's networks, and does it go with accuracy?"""

    table: tyro.conf.Positional[Path]
    """The --out folder of `gen train-smos`."""
    data: Path
    """The data set that it was made on."""
    out: Path
    """Folder for analysis.md, analysis.json and embeddings."""
    images: int = 500
    """Of each domain's held-out fifth, at most; 20 at least."""


def analyse_smos(arguments: Sequence[str]) -> int:
    """`gen analyse-smos`."""
    chosen = tyro.cli(AnalyseArguments, args=list(arguments), prog="gen analyse-smos")
    from gen.smos.analysis import analyse

    analyse(chosen.table, chosen.data, chosen.out, chosen.images)
    print((chosen.out / "analysis.md").read_text())
    return 0
