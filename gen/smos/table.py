"""Leave one domain out: every method, target and seed as a cell, run once, then a table by selection rule.

A cell's folder holds its run; where its results are written it is done, so that the same command goes on.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.provenance import machine
from gen.smos.datasets import find_benchmark
from gen.smos.export import save_classifier, settings_record
from gen.smos.training import NEEDS_PRECURSOR, RESULTS, SMOSSettings, SMOSTrainer

Engine = Literal["order", "ray"]

CELL_SETTINGS = ("target", "algorithm", "precursor", "seed")
"""What differs from cell to cell."""

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "PACS": {
        "ERM (DomainBed)": {"art_painting": 84.7, "cartoon": 80.8, "photo": 97.2, "sketch": 79.3},
        "MIRO (its author)": {"art_painting": 87.4, "cartoon": 78.3, "photo": 97.2, "sketch": 78.7},
        "ERM + SWAD (its README, one run)": {"art_painting": 89.75, "cartoon": 82.94, "photo": 97.98, "sketch": 81.87},
    },
    "VLCS": {
        "ERM (DomainBed)": {"Caltech101": 97.7, "LabelMe": 64.3, "SUN09": 73.4, "VOC2007": 74.6},
        "MIRO (its author)": {"Caltech101": 98.3, "LabelMe": 64.7, "SUN09": 75.3, "VOC2007": 77.8},
    },
    "OfficeHome": {
        "ERM (DomainBed)": {"Art": 61.3, "Clipart": 52.4, "Product": 75.8, "Real": 76.6},
        "MIRO (its author)": {"Art": 67.5, "Clipart": 54.6, "Product": 78.0, "Real": 81.6},
    },
    "TerraIncognita": {
        "ERM (DomainBed)": {"location_100": 49.8, "location_38": 42.1, "location_43": 56.9, "location_46": 35.7},
        "MIRO (its author)": {"location_100": 61.1, "location_38": 43.9, "location_43": 56.9, "location_46": 39.6},
    },
    "DomainNet": {
        "ERM (DomainBed)": {
            "clipart": 58.1, "infograph": 18.8, "painting": 46.7, "quickdraw": 12.2, "real": 59.6, "sketch": 49.8,
        },
        "MIRO (its author)": {
            "clipart": 63.4, "infograph": 21.5, "painting": 50.4, "quickdraw": 12.2, "real": 65.4, "sketch": 52.5,
        },
    },
}  # fmt: skip
"""Per cent on the target by ResNet-50 at 224 pixels, as published; not measured here."""


@dataclass(frozen=True)
class Method:
    """A row of the table."""

    name: str
    algorithm: str
    precursor: Path | None = None


def parse_method(text: str) -> Method:
    """`erm`, or NAME=ALGORITHM:PRECURSOR as in smos+=smos:smd-precursor."""
    name, _, rest = text.rpartition("=")
    algorithm, _, precursor = (rest or text).partition(":")
    if (algorithm in NEEDS_PRECURSOR) != bool(precursor):
        raise BadSetting(
            f"--method {text}: give NAME=ALGORITHM:PRECURSOR for {', '.join(NEEDS_PRECURSOR)}, "
            f"and no precursor for other algorithms."
        )
    return Method(name or algorithm, algorithm, Path(precursor) if precursor else None)


@dataclass(frozen=True)
class Cell:
    """One run."""

    method: Method
    target: str
    seed: int

    @property
    def folder(self) -> str:
        """Its place below the table's folder."""
        return f"{self.method.name}/{self.target}-{self.seed}"


def plan(settings: SMOSSettings, methods: Sequence[Method], targets: str, seeds: Sequence[int]) -> list[Cell]:
    """Every cell, seeds outermost, so that a table that is cut short is whole for its first seeds."""
    names = list(find_benchmark(settings.data, settings.dataset)[1]) if targets == "all" else targets.split(",")
    return [Cell(m, t, seed) for seed in seeds for t in names for m in methods]


def cell_settings(settings: SMOSSettings, cell: Cell) -> SMOSSettings:
    """The settings of one run of the table."""
    m = cell.method
    return replace(
        settings, out=settings.out / cell.folder, cache=settings.cache or settings.out / "cache", seed=cell.seed,
        target=cell.target, algorithm=m.algorithm, precursor=m.precursor,
    )  # fmt: skip


def train_cell(settings: SMOSSettings, cell: Cell) -> dict[str, Any] | None:
    """Run a cell to its end, or read what it came to; None where Ctrl-C stopped it."""
    own = cell_settings(settings, cell)
    if (own.out / RESULTS).is_file():
        return json.loads((own.out / RESULTS).read_text())
    trainer = SMOSTrainer(own)
    trainer.fit()
    if not trainer.finished:
        return None
    rule = "SWAD" if trainer.uses_swad else "training-domain validation"
    with trainer.using(trainer.selected()[rule][1]):
        save_classifier(trainer.student, own.out / "model")
    return trainer.report()


def run_cells(settings: SMOSSettings, cells: Sequence[Cell], engine: Engine, gpus: float) -> bool:
    """Run what is missing; False where Ctrl-C stopped it."""
    if engine == "ray":
        _run_with_ray(settings, [c for c in cells if not (settings.out / c.folder / RESULTS).is_file()], gpus)
        return True
    for number, cell in enumerate(cells, 1):
        told = train_cell(settings, cell)
        if told is None:
            return False
        print(f"{number} of {len(cells)}: {_line(cell, told)}", flush=True)
    return True


def _line(cell: Cell, told: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{rule} {r['accuracy']:.1%}" for rule, r in told["rules"].items())
    return f"{cell.method.name}, {cell.target} left out, seed {cell.seed}: {figures}"


def _run_with_ray(settings: SMOSSettings, cells: Sequence[Cell], gpus: float) -> None:
    """Each cell as a trial of Ray Tune, as many at a time as the cluster holds."""
    try:
        from ray import tune
    except ImportError as error:
        raise BadSetting("--engine ray needs the package ray: pip install 'ray[tune]'.") from error
    here = replace(settings, out=settings.out.resolve(), data=settings.data.resolve(),
                   cache=(settings.cache or settings.out / "cache").resolve())  # fmt: skip

    def trial(config: dict[str, Any]) -> dict[str, float]:
        told = train_cell(here, cells[config["cell"]])
        return {rule: r["accuracy"] for rule, r in told["rules"].items()} if told else {}

    if not cells:
        return
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1, "gpu": gpus}),
        param_space={"cell": tune.grid_search(list(range(len(cells))))},
        run_config=tune.RunConfig(name="table", storage_path=str(here.out / "ray")),
    )
    failed = [str(error) for error in tuner.fit().errors]
    if failed:
        raise BadSetting(f"{len(failed)} of {len(cells)} cells failed; the first: {failed[0].splitlines()[-1]}")


def collect(settings: SMOSSettings, cells: Sequence[Cell]) -> dict[str, Any]:
    """results.json and table.md of all cells that are done."""
    done = {c: json.loads((settings.out / c.folder / RESULTS).read_text())
            for c in cells if (settings.out / c.folder / RESULTS).is_file()}  # fmt: skip
    rows: dict[str, dict[str, dict[str, list[float]]]] = {}
    for cell, told in done.items():
        for rule, r in told["rules"].items():
            rows.setdefault(rule, {}).setdefault(cell.method.name, {}).setdefault(cell.target, []).append(r["accuracy"])
    name = find_benchmark(settings.data, settings.dataset)[0]
    results = {
        "dataset": name,
        "settings": {k: v for k, v in settings_record(settings).items() if k not in ("out", "cache", *CELL_SETTINGS)},
        "machine": machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "cells": {"done": len(done), "of": len(cells)},
        "accuracy": rows,
    }
    with write_atomically(settings.out / RESULTS) as partial:
        partial.write_text(json.dumps(results, indent=2))
    with write_atomically(settings.out / "table.md") as partial:
        partial.write_text(as_markdown(results))
    return results


def as_markdown(results: Mapping[str, Any]) -> str:
    """A table for each selection rule, SWAD first; the oracle, which looks at the target, last."""
    s = results["settings"]
    order = ("SWAD", "training-domain validation", "last step", "oracle")
    targets = sorted({t for rows in results["accuracy"].values() for row in rows.values() for t in row})
    lines = [
        f"{results['dataset']}, {s['backbone']} at {s['size']} pixels, {s['steps']:,} steps, {s['batch']} images a "
        f"domain, Adam at {s['lr']:g}. Accuracy in per cent on the domain that was left out (four fifths of it), mean "
        f"± standard error over seeds where there are several. {results['cells']['done']} of {results['cells']['of']} "
        f"cells done. JS weight {s['js_weight']:g} at temperature {s['temperature']:g}.",
        "",
    ]
    for rule in sorted(results["accuracy"], key=order.index):
        note = " (looks at the target: not a fair choice)" if rule == "oracle" else ""
        lines += [f"Selected by {rule}{note}:", "", f"| method | {' | '.join(targets)} | mean |"]
        lines.append("|---|" + "---|" * (len(targets) + 1))
        for method, row in results["accuracy"][rule].items():
            cells = [_mean(row.get(t, [])) for t in targets]
            lines.append(f"| {method} | {' | '.join(cells)} | {_mean(averages(row, targets))} |")
        lines.append("")
    published = PUBLISHED.get(results["dataset"], {}) if (s["backbone"], s["size"]) == ("resnet50", 224) else {}
    if published:
        lines += ["Published, not measured here (selected by training-domain validation unless it says SWAD):", ""]
        lines += [f"| method | {' | '.join(targets)} | mean |", "|---|" + "---|" * (len(targets) + 1)]
        for method, row in published.items():
            cells = " | ".join(f"{row[t]:.1f}" if t in row else "" for t in targets)
            lines.append(f"| {method} | {cells} | {statistics.mean(row.values()):.1f} |")
        lines.append("")
    return "\n".join(lines)


def averages(row: Mapping[str, Sequence[float]], targets: Sequence[str]) -> list[float]:
    """The mean over targets of each seed; none where a target is missing."""
    whole = [row.get(t, []) for t in targets]
    return [statistics.mean(values) for values in zip(*whole, strict=False)] if all(whole) else []


def _mean(values: Sequence[float]) -> str:
    """Per cent, with the standard error of several."""
    if not values:
        return ""
    text = f"{100 * statistics.mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ± {100 * statistics.stdev(values) / len(values) ** 0.5:.1f}"
