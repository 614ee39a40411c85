"""Many pictures made by several processes, each file whole or absent, so that a stopped run goes on where it was."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from gen.errors import BadSetting

J = TypeVar("J")


def make_folder(out: Path) -> None:
    """Make the folder `out`. Raises `BadSetting` where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(f"{out}: no folder can be made there ({error.strerror}).") from error


def run_jobs(function: Callable[[J], object], jobs: Sequence[J], workers: int | None, unit: str) -> None:
    """`function(job)` for every job, in `workers` processes (none: one a core); the first error ends all."""
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count <= 1:
        for job in tqdm(jobs, unit=unit, disable=None):
            function(job)
        return
    # Forked children of a process that has run torch's threads may hang; spawned ones begin clean.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_one_thread) as pool:
        futures = [pool.submit(function, job) for job in jobs]
        try:
            for future in tqdm(as_completed(futures), total=len(futures), unit=unit, disable=None):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
