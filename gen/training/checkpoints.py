"""Training state on disk: written atomically, found by a pointer file, and loaded without running code from it."""

import json
import logging
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gen.errors import BadInput, short
from gen.formats.json_files import json_if_whole
from gen.media.files import sweep, write_atomically

POINTER = "latest.json"
KEPT = 2
"""Checkpoints to keep: the last one, and the one before in case the last one is damaged."""
DAMAGED = ".damaged"
"""Appended to the name of a checkpoint that cannot be loaded, so that it is not tried again."""
COUNTS = {"images_shown", "seconds", "core_seconds"}
"""Entries of a state that are numbers of at least 0, where they are there."""
GROUPS = {"data", "settings", "hardware", "networks", "optimizers", "ema", "extra"}
"""Entries of a state that hold values by name."""

log = logging.getLogger(__name__)


class DamagedCheckpoint(BadInput):
    """A checkpoint that is incomplete, or that another program wrote."""


class Loaded(NamedTuple):
    """A checkpoint and its content."""

    path: Path
    state: dict[str, Any]


def save_checkpoint(folder: Path, images_shown: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, containers) as `state-IMAGES.pt`, then point to it; returns the file.

    If the process is killed or the power fails at any moment, the pointer names a complete checkpoint, the old or the
    new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)  # partial files of a killed run
    path = folder / f"state-{images_shown:09d}.pt"
    # To a file object: given a path, torch's own writer hides why a write failed.
    with write_atomically(path) as partial, partial.open("wb") as file:
        torch.save(state, file)
        _flush(file.fileno())
    with write_atomically(folder / POINTER) as partial, partial.open("w") as file:
        file.write(json.dumps({"file": path.name, "images_shown": images_shown}))
        file.flush()
        _flush(file.fileno())
    _flush_names(folder)
    for old in sorted(folder.glob("state-*.pt"))[:-KEPT]:
        old.unlink()
    return path


class CheckpointWriter:
    """Writes checkpoints one after the other, with `beside` while training goes on.

    A GPU need not wait for the disk. On a CPU, writing beside training would take memory for a copy and gain little.
    """

    def __init__(self, beside: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "checkpoint") if beside else None
        self._writing: Future[Path] | None = None

    def write(self, folder: Path, images_shown: int, state: dict[str, Any]) -> None:
        """`save_checkpoint` of the state as it is now. With `beside`, an error is raised by the next call or `wait`."""
        if self._pool is None:
            save_checkpoint(folder, images_shown, state)
            return
        self.wait()
        self._writing = self._pool.submit(save_checkpoint, folder, images_shown, _on_host(state))

    def wait(self) -> None:
        """Returns when the last checkpoint is on the disk."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()


def _on_host(state: Any) -> Any:
    """A copy of a state whose tensors are in the processor's memory; none shares it with the original."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_host(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_on_host(value) for value in state)
    return state


def _flush(descriptor: int) -> None:
    """Wait until the file is on the disk: after a power cut, its name must not stand for an empty file."""
    os.fsync(descriptor)


def _flush_names(folder: Path) -> None:
    """The same for the folder's list of names. Windows cannot open a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            _flush(descriptor)
        finally:
            os.close(descriptor)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in the order in which they are tried: the one that the pointer names, then the newest first."""
    # A pipe of this name would never end.
    found = sorted((path for path in folder.glob("state-*.pt") if not path.is_fifo()), reverse=True)
    named = folder / pointed(folder)
    return [named, *(path for path in found if path != named)] if named in found else found


def pointed(folder: Path) -> str:
    """The file name in the pointer; empty if there is no pointer, or it is damaged."""
    return str(json_if_whole(folder / POINTER).get("file", ""))


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that is tried first; None if there is none yet."""
    return next(iter(checkpoints(folder)), None)


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, on `device`.

    Raises `DamagedCheckpoint` for a file that is not such a state, and `BadInput` if the file itself cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums that it writes
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("its content is compressed, or shared by several names, which torch never does")
            if wrong := archive.testzip():
                raise ValueError(f"wrong checksum of {wrong}")
        # weights_only: unpickling a file from elsewhere could run any code.
        state = torch.load(path, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise BadInput(f"{path}: too little memory to load the checkpoint.") from error
    except OSError as error:
        raise BadInput(f"{path}: the checkpoint cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise DamagedCheckpoint(f"{path}: the checkpoint is damaged ({type(error).__name__}).") from error
    if not isinstance(state, dict):
        raise DamagedCheckpoint(f"{path}: this file is not a checkpoint of gen.")
    _check_form(path, state)
    return state


def _check_form(path: Path, state: Mapping[str, Any]) -> None:
    """Raises `DamagedCheckpoint` for entries that are not of the kind that every trainer writes."""
    for name in COUNTS & state.keys():
        value = state[name]
        whole = type(value) is int if name == "images_shown" else type(value) in (int, float)
        if not whole or not 0 <= value < math.inf:
            raise DamagedCheckpoint(f"{path}: the checkpoint is damaged ({name} is {short(repr(value))}).")
    for name in GROUPS & state.keys():
        if not isinstance(state[name], dict | None):
            raise DamagedCheckpoint(f"{path}: the checkpoint is damaged ({name} is no group of values).")
    for name in ("networks", "optimizers"):
        if not all(isinstance(part, dict) for part in (state.get(name) or {}).values()):
            raise DamagedCheckpoint(f"{path}: the checkpoint is damaged (a part of {name} is no group of values).")


def load_last_good(
    folder: Path,
    device: torch.device | str = "cpu",
    check: Callable[[Path, dict[str, Any]], None] = lambda path, state: None,
    set_aside: bool = False,
) -> Loaded | None:
    """The newest checkpoint of `folder` that is whole; None if there is none, with a warning for each that is damaged.

    `check` raises `DamagedCheckpoint` for a state that cannot be used. `set_aside`: rename damaged checkpoints, so that
    they are neither tried again nor deleted. Raises `BadInput` for a file that cannot be read.
    """
    damaged: list[Path] = []
    for path in checkpoints(folder):
        try:
            state = load_checkpoint(path, device)
            check(path, state)
        except DamagedCheckpoint as error:
            log.warning("%s%s", error, _set_aside(path) if set_aside else "")
            damaged.append(path)
        else:
            if damaged:
                log.warning("%s is used instead; %d images of training are lost.", path, _lost(damaged[0], path))
            return Loaded(path, state)
    return None


def _set_aside(path: Path) -> str:
    """Rename a damaged checkpoint; returns a sentence that says so."""
    target = path.with_name(path.name + DAMAGED)
    os.replace(path, target)
    return f" It is kept as {target.name}."


def _lost(damaged: Path, used: Path) -> int:
    """Images between two checkpoints, by their names; at least 0."""
    shown = [int(found[1]) if (found := re.search(r"(\d+)", path.name)) else 0 for path in (damaged, used)]
    return max(0, shown[0] - shown[1])


def check_parts(path: Path, state: Mapping[str, Any]) -> None:
    """Raises `DamagedCheckpoint` where a part of a training state is of another type than training writes."""
    parts = {name: state[name] for name in ("data", "settings", "networks", "optimizers", "extra")}
    parts |= {f"network {name}": value for name, value in _items(state["networks"])}
    wrong = [name for name, value in parts.items() if not isinstance(value, Mapping)]
    wrong += [f"optimizer {name}" for name, value in _items(state["optimizers"]) if "param_groups" not in value]
    if state.get("ema") is not None and "shadow_params" not in state["ema"]:
        wrong.append("ema")
    if wrong:
        raise DamagedCheckpoint(f"{path}: this checkpoint is damaged ({wrong[0]} is not what training writes).")


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []
