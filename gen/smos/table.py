"""Leave one domain out: each combination of method, target and seed is a cell, and the cells make a table.

A cell's folder holds its run. It is done when its results.json is written, so the same command resumes a table.
"""

import dataclasses
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState

from gen.errors import BadSetting, TrainingDiverged
from gen.formats.json_files import json_if_whole
from gen.metrics.encoder_names import full_name
from gen.provenance import fingerprint_file
from gen.smos.algorithms import registry
from gen.smos.arguments import Engine
from gen.smos.benchmarks import find_benchmark, targets_of
from gen.smos.classifiers import PRECURSOR_WEIGHTS, fingerprint, load_classifier, save_classifier
from gen.smos.datasets import load_domains
from gen.smos.export import settings_record
from gen.smos.markdown import FIGURE, as_markdown, fair_rule, gains_to_draw, targets_in
from gen.smos.methods import Method
from gen.smos.plots import draw_gains
from gen.smos.settings import SMOSSettings, parts_of, without_folder
from gen.smos.training import RESULTS, SMOSTrainer
from gen.training.data_record import ALGORITHM, HELD_OUT, START
from gen.training.experiment import Experiment, read_run, write_results, write_text
from gen.training.own_code import code_of, in_words
from gen.training.settings import TrainerSettings, as_record, check_same_run, make_settings, read_record

TABLE_WIDE = ("backbone", "size")
"""Settings that no row may change: the rows would not be comparable."""

PRECURSOR, PRECURSOR_BACKBONE = "smd-precursor", "efficientnet-lite0"
"""The shipped precursor, which grounds a method that names none, and its network."""

OF_A_ROW = ("target", "algorithm", "precursor", "seed", "js_weight", "mi_weight", "temperature", "options")
"""Settings that results.json has for each row, and not for the table."""


NOT_OF_PRESETS = {"data", "dataset", "target", "algorithm", "precursor", "seed", "cache", "workers"} | (
    TrainerSettings.may_change - {"decay", "core_minutes"}
)
"""Settings that a preset does not decide, or that change results by rounding at most."""


@dataclass(frozen=True)
class Cell:
    """One run."""

    method: Method
    target: str
    seed: int

    @property
    def folder(self) -> str:
        """Relative to the table's folder."""
        return f"{self.method.name}/{self.target}-{self.seed}"

    @property
    def title(self) -> str:
        """For tables."""
        return f"{self.method.name}, {self.target}, seed {self.seed}"


def plan(settings: SMOSSettings, methods: Sequence[Method], targets: str, seeds: Sequence[int]) -> list[Cell]:
    """All cells, with seeds as the outermost loop: a table that is interrupted is complete for its first seeds.

    Checks everything that could stop a later cell: targets, precursors, settings, and finished runs with other
    settings. Raises `BadSetting` or `BadInput`.
    """
    dataset, folders = find_benchmark(settings.data, settings.dataset)
    asked = targets_of(targets, dataset, list(folders))
    names = [m.name for m in methods]
    if len(set(names)) < len(names):
        raise BadSetting(f"methods: names must be different, not {', '.join(names)}.")
    for method in methods:
        check_method(method, settings)
    cells = [Cell(m, t, seed) for seed in seeds for t in asked for m in methods]
    check_data(settings, {cell: own for cell in cells if finished(own := cell_settings(settings, cell)) is not None})
    return cells


def check_data(settings: SMOSSettings, done: Mapping[Cell, SMOSSettings]) -> None:
    """Raises `BadSetting` if a cell that is done was trained or measured on other images than the domains have now."""
    if not done:
        return
    cache = next(iter(done.values())).cache or settings.out / "cache"
    domains = load_domains(settings.data, settings.size, cache, settings.dataset)
    held = load_domains(settings.val, settings.size, cache, settings.dataset).sizes() if settings.val else None
    for cell, own in done.items():
        data = (read_record(own.out) or {}).get("data", {})
        if held is not None and data.get(HELD_OUT) not in (held, None):  # records of earlier versions lack it
            raise BadSetting(
                f"{cell.title} was measured on other images than {settings.val} has now; change them back, or choose "
                "another output folder, because the rows of a table must be measured on the same images."
            )
        if wrong := domains.differs_from(data):
            raise BadSetting(
                f"{cell.title} was trained on other images: {wrong}; change it back, or choose another output folder, "
                "because the rows of a table must have the same data."
            )


def with_precursor(method: Method, backbone: str) -> Method:
    """The method with the shipped precursor, if it needs one, names none, and the backbone is that precursor's."""
    if method.precursor or registry.find(method.algorithm).reference != "precursor":
        return method
    if full_name("smos", backbone) != PRECURSOR_BACKBONE:
        return method
    return dataclasses.replace(method, precursor=PRECURSOR)


def check_method(method: Method, settings: SMOSSettings) -> None:
    """Raises `BadSetting` or `BadInput` if this row cannot be trained."""
    if fixed := set(TABLE_WIDE) & method.changes.keys():
        raise BadSetting(
            f"method {method.name}: {fixed.pop()} must be the same for the whole table; set it there, not in a method."
        )
    needed = registry.find(method.algorithm).reference == "precursor"
    if needed and not method.precursor:
        raise BadSetting(
            f"method {method.name}: {method.algorithm} needs a precursor with the backbone {settings.backbone}, and "
            f"the shipped {PRECURSOR} has {PRECURSOR_BACKBONE}. Take it with --preset cpu, or train one with gen "
            f"train-precursor and give it as --method NAME={method.algorithm}:PRECURSOR, or choose --algorithm erm."
        )
    if method.precursor and not needed:
        raise BadSetting(f"method {method.name}: {method.algorithm} uses no precursor; leave it out.")
    if method.precursor:
        found = load_classifier(method.precursor).config["backbone"]
        if full_name("smos", found) != full_name("smos", settings.backbone):
            raise BadSetting(
                f"method {method.name}: precursor {method.precursor} is {found}, but the table's backbone is "
                f"{settings.backbone}; set backbone={found}, or train a precursor of {settings.backbone}."
            )


def cell_settings(settings: SMOSSettings, cell: Cell) -> SMOSSettings:
    """The settings of one run, with absolute paths: Ray's workers have other working directories.

    Raises `BadSetting` naming a setting or option that is unknown or wrong.
    """
    m, out = cell.method, settings.out.resolve()
    precursor = Path(m.precursor) if m.precursor else None
    weights = Path(settings.weights)
    fields = {f.name for f in dataclasses.fields(SMOSSettings)}
    options = {name: value for name, value in m.changes.items() if name not in fields}
    own = {
        "out": out / cell.folder,
        "data": settings.data.resolve(),
        "val": settings.val and settings.val.resolve(),
        "cache": (settings.cache or out / "cache").resolve(),
        "weights": str(weights.resolve()) if weights.is_file() else settings.weights,
        "precursor": precursor.resolve() if precursor and precursor.exists() else precursor,
        "seed": cell.seed,
        "target": cell.target,
        "algorithm": absolute(m.algorithm),
        "options": ((settings.options or {}) | options) or None,
    }
    made = make_settings(
        SMOSSettings, vars(settings), {name: m.changes[name] for name in m.changes if name in fields}, own
    )
    registry.find(m.algorithm).read_options(made)
    return made


def absolute(algorithm: str) -> str:
    """FILE.py:CLASS with the whole path of the file, in smos(...) too; other names as they are."""
    grounding, inner, end = parts_of(algorithm)
    file, _, name = inner.rpartition(":")
    return f"{grounding}{Path(file).resolve()}:{name}{end}" if registry.is_own(inner) else algorithm


def finished(own: SMOSSettings) -> dict[str, Any] | None:
    """The results of a cell that is done, else None. Raises `BadSetting` if it was run with other settings."""
    # Nor may a cell that is not done change its length, or it would have another schedule than the other rows.
    record = read_run(own, own.may_change - {"steps", "core_minutes"})
    if record is None or not (own.out / RESULTS).is_file():  # without a record, results of unknown settings
        return None
    # A name may stand for newly trained weights.
    data, now = record.get("data", {}), dict[str, Any]()
    if own.precursor is not None:
        now[PRECURSOR_WEIGHTS] = fingerprint(load_classifier(own.precursor))
    if START in data and Path(own.weights).is_file():
        now[START] = fingerprint_file(Path(own.weights))
    if ALGORITHM in data:
        now[ALGORITHM] = code_of(registry.find(own.algorithm))
    check_same_run({name: data.get(name) for name in now}, now)
    return json_if_whole(own.out / RESULTS) or None  # a damaged file: the cell is run again


def train_cell(own: SMOSSettings) -> dict[str, Any] | None:
    """Run a cell to its end, or resume it; None if Ctrl-C stopped it.

    A diverged loss ends the cell, not the table; its results then have "diverged".
    """
    trainer = SMOSTrainer(own)
    main = trainer.accelerator.is_main_process
    try:
        trainer.fit()
    except TrainingDiverged as error:
        results = {"target": own.target, "seed": own.seed, "rules": {}, "diverged": str(error).partition(";")[0]}
        if main:
            write_text(own.out / RESULTS, json.dumps(results, indent=2))
        return results
    if not trainer.finished:
        return None
    if main:
        with trainer.using(trainer.selected()[trainer.rule][1]):
            save_classifier(trainer.classifier(), own.out / "model")
            trainer.save_beside(own.out / "model")
    results = trainer.report()  # after the model is saved: results.json says that the cell is done
    trainer.accelerator.wait_for_everyone()
    if main:
        remove_checkpoints(own)
    return results


def remove_checkpoints(own: SMOSSettings) -> None:
    """Remove the checkpoints of a finished cell: they are ten times the model, and no longer needed."""
    shutil.rmtree(own.out / "checkpoints", ignore_errors=True)


def experiment(settings: SMOSSettings, cells: Sequence[Cell]) -> Experiment[Cell, dict[str, Any]]:
    """The cells with how they are run."""
    own = {cell: cell_settings(settings, cell) for cell in cells}  # here, because Ray's workers resolve paths otherwise
    return Experiment(cells, lambda cell: train_cell(own[cell]), lambda cell: finished(own[cell]))


def run_cells(settings: SMOSSettings, cells: Sequence[Cell], engine: Engine, gpus: float | None) -> bool:
    """Run the cells that are not done; False if Ctrl-C stopped it."""

    def tell(number: int, cell: Cell, results: Mapping[str, Any]) -> None:
        if PartialState().is_main_process:
            print(f"{number} of {len(cells)}: {_line(cell, results)}", flush=True)

    runs = experiment(settings, cells)
    for cell, results in runs.done().items():
        if "diverged" not in results:  # a run that was killed between its results and this removal
            remove_checkpoints(cell_settings(settings, cell))
    if engine == "ray":
        return runs.run_with_ray(settings.out.resolve() / "ray", gpus, _accuracies)
    return runs.run_in_order(tell)


def _accuracies(results: Mapping[str, Any]) -> dict[str, float]:
    return {rule: r["accuracy"] for rule, r in results["rules"].items()}


def _line(cell: Cell, results: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{rule} {r['accuracy']:.1%}" for rule, r in results["rules"].items())
    return f"{cell.method.name}, {cell.target} left out, seed {cell.seed}: {figures or results['diverged']}"


def collect(settings: SMOSSettings, cells: Sequence[Cell]) -> dict[str, Any]:
    """Write results.json and table.md of all cells that are done."""
    done = experiment(settings, cells).done()
    own = {c.method.name: cell_settings(settings, c) for c in cells}
    results = {
        "dataset": find_benchmark(settings.data, settings.dataset)[0],
        "settings": {k: v for k, v in settings_record(settings).items() if k not in ("out", "cache", *OF_A_ROW)},
        "changes": changes_of_preset(settings),
        "methods": {c.method.name: method_record(c.method, own[c.method.name]) for c in cells},
        "machines": {c.folder: (read_record(cell_settings(settings, c).out) or {}).get("hardware") for c in done},
        "cells": {"done": len(done), "of": len(cells)},
        "missing": [c.folder for c in cells if c not in done],
        "ended_early": sorted(r["steps"] for c, r in done.items() if ended_early(own[c.method.name], r)),
        "diverged": [c.title for c, r in done.items() if "diverged" in r],
        "accuracy": _accuracy(done),
        "costs": _costs(done),
    }
    # The figure first: who finds the table finds its figure.
    if drawn := gains_to_draw(results):
        settings.out.mkdir(parents=True, exist_ok=True)
        draw_gains(settings.out / FIGURE, drawn, targets_in(results), fair_rule(results))
    write_results(settings.out, results, as_markdown(results))
    return results


def ended_early(own: SMOSSettings, results: Mapping[str, Any]) -> bool:
    """Whether SWAD ended the run of a cell before its length."""
    if own.core_minutes is not None:
        return results.get("core_seconds", math.inf) < 60 * own.core_minutes
    return results.get("steps", math.inf) < own.steps


def changes_of_preset(settings: SMOSSettings) -> dict[str, Any]:
    """The settings of the table that are not its preset's, and that may change its numbers."""
    if settings.preset not in SMOSSettings.preset_names():
        return {}
    given = {"data": settings.data, "dataset": settings.dataset, "out": settings.out}
    preset = SMOSSettings.from_preset(settings.preset, **given)
    before, now = as_record(preset), settings_record(settings)
    return {name: now[name] for name in before if before[name] != now[name] and name not in NOT_OF_PRESETS}


def method_record(method: Method, own: SMOSSettings) -> dict[str, Any]:
    """A row's algorithm, its loss in words, its options as they were used, and its other changes."""
    algorithm = registry.find(own.algorithm)
    used = algorithm.read_options(own)
    options = dataclasses.asdict(used)
    changes = {k: v for k, v in method.changes.items() if k not in options and k not in OF_A_ROW}
    loss = algorithm.describe(used) + (f" ({in_words(code)})" if (code := code_of(algorithm)) else "")
    return {"algorithm": without_folder(own.algorithm), "loss": loss, **options, "changes": changes}


def _costs(done: Mapping[Cell, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """By method and cell: its steps, processor seconds in all, and seconds a step."""
    costs: dict[str, dict[str, dict[str, float | None]]] = {}
    for cell, results in done.items():
        found = {name: results.get(name) for name in ("steps", "core_seconds", "step_seconds")}
        costs.setdefault(cell.method.name, {})[f"{cell.target}-{cell.seed}"] = found
    return costs


def _accuracy(done: Mapping[Cell, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """By rule, method, target and seed."""
    rows: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for cell, results in done.items():
        for rule, r in results["rules"].items():
            row = rows.setdefault(rule, {}).setdefault(cell.method.name, {})
            row.setdefault(cell.target, {})[str(cell.seed)] = r["accuracy"]
    return rows
