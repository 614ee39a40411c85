"""Write many pictures with several processes. Each file is written whole or not at all, so a stopped run can resume."""

import json
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from gen.about import VERSION
from gen.errors import BadSetting
from gen.media.files import make_out_folder, write_atomically

J = TypeVar("J")


RECORD = "render.json"


def begin(out: Path, record: Mapping[str, Any]) -> None:
    """Make `out` and record the settings of its pictures there, so that no folder mixes two kinds.

    Raises `BadSetting` if it holds pictures that were made with other settings.
    """
    make_out_folder(out)
    path, record = out / RECORD, dict(record) | {"version": VERSION}
    old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for name in record:
        if old and old.get(name) != record[name]:
            raise BadSetting(
                f"{out}: its images were rendered with {name}={old.get(name)!r}, not {record[name]!r}; "
                f"use the old value to resume, or choose another output folder."
            )
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(old | record, indent=2) + "\n")


def run_jobs(function: Callable[[J], int], jobs: Sequence[J], workers: int | None, total: int, unit: str) -> None:
    """Call `function(job)` for every job, in `workers` processes (none: one per core). The first error ends all.

    `function` returns how many of the `total` pictures its job stood for; the progress bar advances by that.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    with tqdm(total=total, unit=unit, disable=None) as bar:
        if count <= 1:
            for job in jobs:
                bar.update(function(job))
            return
        # A forked child of a process that has used torch's threads may hang; a spawned one starts clean.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(count, context, initializer=_one_thread)
        try:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                bar.update(future.result())
        finally:  # not `with`: that would wait for all jobs after an error or Ctrl-C
            pool.shutdown(cancel_futures=True)


def check_seed(seed: int) -> None:
    """Raises `BadSetting` unless 0 <= seed < 2^31, the range that all the random generators accept."""
    if not 0 <= seed < 2**31:
        raise BadSetting(f"seed must be a whole number from 0 to {2**31 - 1}, not {seed}.")


def _one_thread() -> None:
    """One thread a process: with a process on every core, more would only compete."""
    import torch

    torch.set_num_threads(1)
