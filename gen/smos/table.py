"""Leave one domain out: every method, target and seed as a cell, run once, then a table by selection rule.

A cell's folder holds its run; where its results are written it is done, so that the same command goes on.
"""

import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from accelerate import PartialState

from gen.errors import BadSetting, TrainingDiverged
from gen.media.files import write_atomically
from gen.provenance import machine
from gen.smos.datasets import find_benchmark, usual_name
from gen.smos.export import PRECURSOR_WEIGHTS, fingerprint, load_classifier, save_classifier, settings_record
from gen.smos.training import NEEDS_PRECURSOR, RESULTS, Algorithm, SMOSSettings, SMOSTrainer
from gen.training.settings import check_same_run, check_same_settings, make_settings, parse_overrides

Engine = Literal["order", "ray"]

CELL_SETTINGS = ("target", "algorithm", "precursor", "seed", "js_weight", "mi_weight", "temperature")
"""What differs from cell to cell, or may."""

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
    precursor: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    """Settings that only this row has."""


def parse_method(text: str) -> Method:
    """`erm`, or NAME=ALGORITHM[:PRECURSOR][,FIELD=VALUE ...] as in smos+=smos:smd-precursor,js_weight=5."""
    head, *changes = text.split(",")
    name, _, rest = head.rpartition("=")
    algorithm, _, precursor = (rest or head).partition(":")
    if algorithm not in get_args(Algorithm):
        raise BadSetting(
            f"--method {text}: there is no algorithm {algorithm}; choose {', '.join(get_args(Algorithm))}."
        )
    if (algorithm in NEEDS_PRECURSOR) != bool(precursor):
        raise BadSetting(
            f"--method {text}: give NAME=ALGORITHM:PRECURSOR for {', '.join(NEEDS_PRECURSOR)}, "
            f"and no precursor for other algorithms."
        )
    if not re.fullmatch(r"\w[\w+.-]*", name or algorithm):
        raise BadSetting(f"--method {text}: a name has letters, digits and + . - _ only.")
    return Method(name or algorithm, algorithm, precursor or None, parse_overrides(changes))


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
    """Every cell, seeds outermost, so that a table that is cut short is whole for its first seeds.

    Whatever would stop a later cell is said before the first: an unknown target, a precursor that cannot be loaded, a
    setting that is wrong, a run of other settings in a cell's folder. Raises `BadSetting` or `BadInput`.
    """
    names = [m.name for m in methods]
    if len(set(names)) < len(names):
        raise BadSetting(f"--method: every row needs a name of its own, but they are {', '.join(names)}.")
    for method in methods:
        if fixed := {"backbone", "size"} & method.changes.keys():
            raise BadSetting(f"--method {method.name}: {fixed.pop()} is one for the whole table; give it with --set.")
        if method.precursor is not None:
            found = load_classifier(method.precursor).config["backbone"]
            if found != settings.backbone:
                raise BadSetting(
                    f"--method {method.name}: precursor {method.precursor} is {found}, but the table's backbone is "
                    f"{settings.backbone}; use --preset or --set backbone={found}, or train a precursor of it."
                )
    dataset, folders = find_benchmark(settings.data, settings.dataset)
    known = list(folders)
    chosen = known if targets == "all" else [usual_name(dataset, known, t.strip()) for t in targets.split(",")]
    cells = [Cell(m, t, seed) for seed in seeds for t in dict.fromkeys(chosen) for m in methods]
    for cell in cells:
        finished(cell_settings(settings, cell))
    return cells


def cell_settings(settings: SMOSSettings, cell: Cell) -> SMOSSettings:
    """The settings of one run of the table, with paths that hold from every working folder."""
    m, out = cell.method, settings.out.resolve()
    precursor = Path(m.precursor) if m.precursor else None
    weights = Path(settings.weights)
    own = {
        "out": out / cell.folder,
        "data": settings.data.resolve(),
        "cache": (settings.cache or out / "cache").resolve(),
        "weights": str(weights.resolve()) if weights.is_file() else settings.weights,
        "precursor": precursor.resolve() if precursor and precursor.exists() else precursor,
        "seed": cell.seed,
        "target": cell.target,
        "algorithm": m.algorithm,
    }
    return make_settings(SMOSSettings, vars(settings), m.changes, own)


def finished(own: SMOSSettings) -> dict[str, Any] | None:
    """What a cell came to, if it is done. Raises `BadSetting` where it was done with other settings."""
    if not (own.out / RESULTS).is_file():
        return None
    record = json.loads((own.out / "settings.json").read_text())
    check_same_settings(record["settings"], own, own.may_change)
    if own.precursor is not None:
        now = {PRECURSOR_WEIGHTS: fingerprint(load_classifier(own.precursor))}
        check_same_run({PRECURSOR_WEIGHTS: record["data"].get(PRECURSOR_WEIGHTS)}, now)
    return json.loads((own.out / RESULTS).read_text())


def train_cell(own: SMOSSettings) -> dict[str, Any] | None:
    """Run a cell to its end, or read what it came to; None where Ctrl-C stopped it.

    A loss without a bound ends the cell and not the table: the cell's results then say "diverged".
    """
    if told := finished(own):
        return told
    trainer = SMOSTrainer(own)
    main = trainer.accelerator.is_main_process
    try:
        trainer.fit()
    except TrainingDiverged as error:
        told = {"target": own.target, "seed": own.seed, "rules": {}, "diverged": str(error).partition(";")[0]}
        if main:
            with write_atomically(own.out / RESULTS) as partial:
                partial.write_text(json.dumps(told, indent=2))
        return told
    if not trainer.finished:
        return None
    if main:
        with trainer.using(trainer.selected()[trainer.rule][1]):
            save_classifier(trainer.student, own.out / "model")
    told = trainer.report()
    trainer.accelerator.wait_for_everyone()
    if main:
        shutil.rmtree(own.out / "checkpoints", ignore_errors=True)  # ten times the model, and of no more use
    return told


def run_cells(settings: SMOSSettings, cells: Sequence[Cell], engine: Engine, gpus: float | None) -> bool:
    """Run what is missing; False where Ctrl-C stopped it."""
    if engine == "ray":
        own = [cell_settings(settings, cell) for cell in cells]
        _run_with_ray(settings.out.resolve(), own, gpus)
        return all(finished(one) is not None for one in own)
    for number, cell in enumerate(cells, 1):
        told = train_cell(cell_settings(settings, cell))
        if told is None:
            return False
        if PartialState().is_main_process:
            print(f"{number} of {len(cells)}: {_line(cell, told)}", flush=True)
    return True


def _line(cell: Cell, told: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{rule} {r['accuracy']:.1%}" for rule, r in told["rules"].items())
    return f"{cell.method.name}, {cell.target} left out, seed {cell.seed}: {figures or told['diverged']}"


def _run_with_ray(out: Path, cells: Sequence[SMOSSettings], gpus: float | None) -> None:
    """Each missing cell as a trial of Ray Tune, as many at once as there is room; a GPU each where there are any."""
    try:
        from ray import tune
    except ImportError as error:
        raise BadSetting("--engine ray needs the package ray: pip install 'ray[tune]'.") from error
    missing = [own for own in cells if finished(own) is None]
    if gpus is None:
        gpus = 1.0 if torch.cuda.is_available() else 0.0

    def trial(config: dict[str, Any]) -> dict[str, float]:
        told = train_cell(missing[config["cell"]])
        return {rule: r["accuracy"] for rule, r in told["rules"].items()} if told else {}

    if not missing:
        return
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1, "gpu": gpus}),
        param_space={"cell": tune.grid_search(list(range(len(missing))))},
        run_config=tune.RunConfig(name="table", storage_path=str(out / "ray")),
    )
    failed = [str(error) for error in tuner.fit().errors]
    if failed:
        raise BadSetting(f"{len(failed)} of {len(missing)} cells failed; the first: {failed[0].splitlines()[-1]}")


def collect(settings: SMOSSettings, cells: Sequence[Cell]) -> dict[str, Any]:
    """results.json and table.md of all cells that are done."""
    done = {c: told for c in cells if (told := finished(cell_settings(settings, c)))}
    rows: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for cell, told in done.items():
        for rule, r in told["rules"].items():
            row = rows.setdefault(rule, {}).setdefault(cell.method.name, {})
            row.setdefault(cell.target, {})[str(cell.seed)] = r["accuracy"]
    own = {c.method.name: cell_settings(settings, c) for c in cells}
    changes = {c.method.name: c.method.changes for c in cells}
    results = {
        "dataset": find_benchmark(settings.data, settings.dataset)[0],
        "settings": {k: v for k, v in settings_record(settings).items() if k not in ("out", "cache", *CELL_SETTINGS)},
        "methods": {
            name: {
                "algorithm": s.algorithm,
                "js_weight": s.js_weight,
                "mi_weight": s.beta,
                "temperature": s.temperature,
                "changes": {k: v for k, v in changes[name].items() if k not in CELL_SETTINGS},
            }
            for name, s in own.items()
        },
        "machine": machine(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "cells": {"done": len(done), "of": len(cells)},
        "ended_early": sorted(
            t["steps"] for c, t in done.items() if "steps" in t and t["steps"] < own[c.method.name].steps
        ),
        "diverged": [f"{c.method.name}, {c.target}, seed {c.seed}" for c, t in done.items() if "diverged" in t],
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
    early = results["ended_early"]
    ended = f" (SWAD ended {len(early)} runs before that, the first after {early[0]:,})" if early else ""
    lines = [
        f"{results['dataset']}, {s['backbone']} at {s['size']} pixels, {s['steps']:,} steps{ended}, {s['batch']} "
        f"images a domain, Adam at {s['lr']:g}. Accuracy in per cent on the domain that was left out (four fifths of "
        f"it), mean ± standard error over seeds where there are several. {results['cells']['done']} of "
        f"{results['cells']['of']} cells done.",
        "",
        *(f"- {name}: {_terms(m)}" for name, m in results["methods"].items()),
        *(f"- diverged: {cell}" for cell in results["diverged"]),
        "",
    ]
    for rule in sorted(results["accuracy"], key=order.index):
        note = " (looks at the target: not a fair choice)" if rule == "oracle" else ""
        lines += [f"Selected by {rule}{note}:", "", f"| method | {' | '.join(targets)} | mean |"]
        lines.append("|---|" + "---|" * (len(targets) + 1))
        for method, row in results["accuracy"][rule].items():
            cells = [_mean(list(row.get(t, {}).values())) for t in targets]
            lines.append(f"| {method} | {' | '.join(cells)} | {_mean(averages(row, targets))} |")
        lines.append("")
    published = PUBLISHED.get(results["dataset"], {}) if (s["backbone"], s["size"]) == ("resnet50", 224) else {}
    if published:
        lines += ["Published, not measured here (selected by training-domain validation unless it says SWAD):", ""]
        lines += [f"| method | {' | '.join(targets)} | mean |", "|---|" + "---|" * (len(targets) + 1)]
        for method, row in published.items():
            cells = " | ".join(f"{row[t]:.1f}" for t in targets)
            lines.append(f"| {method} | {cells} | {statistics.mean(row[t] for t in targets):.1f} |")
        lines.append("")
    return "\n".join(lines)


def _terms(method: Mapping[str, Any]) -> str:
    """The loss of a row, with its weights."""
    parts = ["cross-entropy"]
    if method["algorithm"].startswith("smos"):
        kind = {"smos": f"JS at temperature {method['temperature']:g}", "smos_kl": "released KL term"}
        parts.append(f"{method['js_weight']:g} {kind.get(method['algorithm'], 'released JS term')}")
    if method["algorithm"] != "erm":
        oracle = "ImageNet" if method["algorithm"] == "miro" else "the precursor"
        parts.append(f"{method['mi_weight']:g} L_MI to {oracle}")
    more = "".join(f"; {field}={value}" for field, value in method["changes"].items())
    return " + ".join(parts) + more


def averages(row: Mapping[str, Mapping[str, float]], targets: Sequence[str]) -> list[float]:
    """The mean over targets of each seed that has them all."""
    seeds = dict.fromkeys(seed for target in targets for seed in row.get(target, {}))
    whole = [seed for seed in seeds if all(seed in row.get(t, {}) for t in targets)]
    return [statistics.mean(row[t][seed] for t in targets) for seed in whole]


def _mean(values: Sequence[float]) -> str:
    """Per cent, with the standard error of several."""
    if not values:
        return ""
    text = f"{100 * statistics.mean(values):.1f}"
    return text if len(values) < 2 else f"{text} ± {100 * statistics.stdev(values) / len(values) ** 0.5:.1f}"
