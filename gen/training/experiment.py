"""Experiments of many training runs: run the missing cells, then collect all results.

The table of SMOS, the comparison of HDA's methods and that of AU-GAN's recipes are such experiments. This module
imports neither torch nor Ray before it needs them.
"""

import json
import multiprocessing
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.plugins import load_plugins
from gen.training.settings import TrainerSettings, check_same_settings, read_record

C = TypeVar("C")
R = TypeVar("R")

Tell = Callable[[int, C, R], None]
"""Called after each cell with how many cells are done in this call, the cell and its results."""


@dataclass(frozen=True)
class Experiment(Generic[C, R]):
    """Cells, each one training run in a folder of its own, and what can be asked of a cell."""

    cells: Sequence[C]
    """In the order in which they run."""
    run: Callable[[C], R | None]
    """Run a cell to its end, or resume it; returns its results, or None if Ctrl-C stopped it."""
    finished: Callable[[C], R | None]
    """The results of a cell that ran to its end, else None. Raises `BadSetting` if it was run with other settings."""

    def check(self) -> None:
        """Raises `BadSetting` if the folder of any cell holds a run with other settings."""
        for cell in self.cells:
            self.finished(cell)

    def done(self) -> dict[C, R]:
        """The results of all finished cells."""
        found = {cell: self.finished(cell) for cell in self.cells}
        return {cell: results for cell, results in found.items() if results is not None}

    def missing(self) -> list[C]:
        """The cells that are not finished."""
        return [cell for cell in self.cells if self.finished(cell) is None]

    def run_in_order(self, tell: Tell[C, R], again: bool = False) -> bool:
        """One cell after another; False if Ctrl-C stopped it.

        `again`: finished cells are given to `run` too, for runs that can be lengthened. `tell` is called for every
        cell, also for those that were finished before.
        """
        for number, cell in enumerate(self.cells, 1):
            results = None if again else self.finished(cell)
            if results is None:
                results = self.run(cell)
            if results is None:
                return False
            tell(number, cell, results)
        return True

    def run_in_processes(self, workers: int, tell: Tell[C, R]) -> bool:
        """The missing cells in `workers` processes; `run` and the cells must be picklable. The first error ends all.

        False if Ctrl-C stopped it. `tell` is called in this process, in the order in which the cells end.
        """
        # A forked child of a process that has used torch's threads may hang; a spawned one starts clean.
        pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
        try:
            futures = {pool.submit(self.run, cell): cell for cell in self.missing()}
            for number, future in enumerate(as_completed(futures), 1):
                results = future.result()
                if results is None:
                    return False
                tell(number, futures[future], results)
        except BrokenProcessPool as error:
            raise BadSetting(
                f"one of {workers} processes was ended by the system, probably for want of memory; run the same "
                f"command again to continue, with fewer at a time."
            ) from error
        finally:  # not `with`: that would wait for all cells after an error or Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
        return True

    def run_with_ray(self, storage: Path, gpus: float | None, figures: Callable[[R], dict[str, float]]) -> bool:
        """Each missing cell as a trial of Ray Tune, on all machines of its cluster; False if some are still missing.

        As many trials run at once as fit. `storage`: folder for Ray's own records. `gpus`: GPUs per trial; None: one
        if there is one. `figures`: the numbers that Ray shows. The cells' folders must be absolute, because a worker
        has another working directory. Raises `BadSetting` without Ray, and if cells fail.
        """
        try:
            from ray import tune
        except ImportError as error:
            raise BadSetting("engine ray: the package ray is not installed; run pip install 'ray[tune]'.") from error
        missing = self.missing()
        if not missing:
            return True
        run = self.run

        def trial(config: dict[str, Any]) -> dict[str, float]:
            load_plugins()  # a worker is a new process: what plugins registered in this one is not known there
            results = run(missing[config["cell"]])
            return {} if results is None else figures(results)

        share = gpus if gpus is not None else float(pick_device().type == "cuda")
        tuner = tune.Tuner(
            tune.with_resources(trial, {"cpu": 1, "gpu": share}),
            param_space={"cell": tune.grid_search(list(range(len(missing))))},
            run_config=tune.RunConfig(name="table", storage_path=str(storage)),
        )
        failed = [str(error) for error in tuner.fit().errors]
        if failed:
            raise BadSetting(f"{len(failed)} of {len(missing)} cells failed; the first: {failed[0].splitlines()[-1]}")
        return not self.missing()


def read_run(settings: TrainerSettings, may_change: Set[str]) -> dict[str, Any] | None:
    """The record settings.json of the run in `settings.out`; None if no run was begun there, or the record is damaged.

    Raises `BadSetting` if the run was begun with settings that differ in more than `may_change`.
    """
    record = read_record(settings.out)
    if record is not None:
        check_same_settings(record["settings"], settings, may_change)
    return record


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation over seeds; the deviation is None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def named(cells: Iterable[object]) -> str:
    """A sentence that names cells that have not run; empty if there are none."""
    names = ", ".join(str(cell) for cell in cells)
    return f"Not trained yet: {names}." if names else ""


def write_results(folder: Path, results: Mapping[str, Any], table: str) -> None:
    """Write results.json and table.md, each of them whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "results.json", json.dumps(results, indent=2))
    write_text(folder / "table.md", table)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")
