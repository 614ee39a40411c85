"""Write many pictures with several processes. Each file is written whole or not at all, so a stopped run can resume."""

import json
import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from gen.about import VERSION
from gen.bars import progress_bar
from gen.errors import BadSetting
from gen.formats.json_files import json_if_whole
from gen.media.files import make_out_folder, write_atomically
from gen.output import output_folder

J = TypeVar("J")


RECORD = "render.json"
ENDS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}
"""Last bytes of a picture, by suffix."""
ON_A_GPU = 4
"""Processes that share a GPU: each keeps half a gigabyte of its memory for CUDA itself."""


@contextmanager
def rendering_to(out: Path, pixels: int) -> Generator[None]:
    """Within the block, only this process renders to `out`. Raises `BadSetting` if there is too little room.

    `pixels`: of all pictures together. Only a new folder is checked for room; a stopped run has used part of it.
    """
    new = not (out / RECORD).exists()
    # A JPEG of a game scene at the lowest sensible quality takes about a tenth of a byte per pixel.
    with output_folder(out, total=pixels // 10 if new else 0):
        yield


def begin(
    out: Path, record: Mapping[str, Any], folders: Sequence[Path] = (), parts: Mapping[str, Any] | None = None
) -> None:
    """Make `out` and record the settings of its pictures there, so that no folder mixes two kinds.

    `folders`: those that the pictures go to. `parts`: entries of a new part of the folder, which its record may lack.
    Raises `BadSetting` if `out` holds pictures that were made with other settings, or with unknown ones.
    """
    from gen.media.folders import find_stills  # it needs Pillow, which help texts must not wait for

    make_out_folder(out)
    path, record = out / RECORD, dict(record) | {"version": VERSION}
    old = json_if_whole(path)
    record |= parts or {}
    if not old and any(folder.is_dir() and find_stills(folder) for folder in folders):
        raise BadSetting(
            f"{out}: this folder holds images, but no {RECORD} says how they were rendered; choose another output "
            f"folder, or remove them."
        )
    for name in record:
        if old and old.get(name) != record[name] and (name in old or name not in (parts or {})):
            if name == "version":
                raise BadSetting(
                    f"{out}: its images were rendered by gen {old.get(name) or 'of an unknown version'}; this is gen "
                    f"{VERSION}, which may draw them otherwise. Choose another output folder."
                )
            raise BadSetting(
                f"{out}: its images were rendered with {name}={old.get(name)!r}, not {record[name]!r}; "
                f"use the old value to resume, or choose another output folder."
            )
    with write_atomically(path) as partial:
        partial.write_text(json.dumps(old | record, indent=2) + "\n")


def is_written(path: Path) -> bool:
    """Whether a picture is there. A power cut may leave an empty file under its name."""
    return path.is_file() and path.stat().st_size > 0


def is_whole(path: Path) -> bool:
    """Whether a picture is there to its end, as its last bytes say; other kinds of files: whether it is there."""
    if not is_written(path):
        return False
    end = ENDS.get(path.suffix.lower(), b"")
    with path.open("rb") as file:
        file.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return file.read() == end if end else True


def run_jobs(
    function: Callable[[J], int], jobs: Sequence[J], workers: int | None, total: int, unit: str, device: str = "cpu"
) -> None:
    """Call `function(job)` for every job, in `workers` processes. The first error ends all.

    `workers=None`: one per core, but `ON_A_GPU` at most where they share a `device` other than the CPU.

    `function` returns how many of the `total` pictures its job stood for; the progress bar advances by that.
    """
    cores = os.cpu_count() or 1
    count = min(workers or (cores if device == "cpu" else min(cores, ON_A_GPU)), len(jobs))
    with progress_bar(total=total, unit=unit) as bar:
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
        except BrokenProcessPool as error:
            raise BadSetting(
                f"workers: one of {count} processes was ended by the system, probably for want of memory; run the same "
                f"command again to continue, with fewer workers."
            ) from error
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
