"""Training state on disk: written atomically, found by a pointer file, and loaded without running code from it."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from gen.errors import BadInput
from gen.media.files import sweep, write_atomically

POINTER = "latest.json"
KEPT = 2
"""Checkpoints to keep: the last one, and the one before in case the last one is damaged."""


def save_checkpoint(folder: Path, images_shown: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, containers) as `state-IMAGES.pt`, then point to it; returns the file.

    If the process is killed at any moment, the pointer names a complete checkpoint, the old or the new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)  # partial files of a killed run
    path = folder / f"state-{images_shown:09d}.pt"
    with write_atomically(path) as partial:
        torch.save(state, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # before the pointer: after a power cut it must not name an empty file
    with write_atomically(folder / POINTER) as partial:
        partial.write_text(json.dumps({"file": path.name, "images_shown": images_shown}))
    for old in sorted(folder.glob("state-*.pt"))[:-KEPT]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the pointer names; None if there is none yet."""
    pointer = folder / POINTER
    return folder / json.loads(pointer.read_text())["file"] if pointer.exists() else None


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state that `save_checkpoint` wrote, on `device`. Raises `BadInput` for a file that cannot be loaded."""
    try:
        # weights_only: unpickling a file from elsewhere could run any code.
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen types for a damaged file
        raise BadInput(
            f"{path}: the checkpoint cannot be loaded ({type(error).__name__}); to resume from the one before it, "
            f"write that file's name into {path.parent / POINTER}."
        ) from error
