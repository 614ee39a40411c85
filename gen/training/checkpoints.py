"""Training state on disk: written atomically, located by a pointer file, loaded without unpickling code."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from gen.errors import BadInput
from gen.media.files import sweep, write_atomically

POINTER = "latest.json"
KEEP = 2
"""Checkpoints kept on disk: the last one, and the one before in case the last one is damaged."""


def save_checkpoint(folder: Path, images_shown: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, containers) to `state-IMAGES.pt`, then update the pointer file.

    If the process is killed at any moment, the pointer names a complete checkpoint, the old or the new one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / f"state-{images_shown:09d}.pt"
    with write_atomically(path) as partial:
        torch.save(state, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # on disk before the pointer names it
    with write_atomically(folder / POINTER) as partial:
        partial.write_text(json.dumps({"file": path.name, "images_shown": images_shown}))
    for old in sorted(folder.glob("state-*.pt"))[:-KEEP]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the pointer file names; None if there is none yet."""
    pointer = folder / POINTER
    return folder / json.loads(pointer.read_text())["file"] if pointer.exists() else None


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Load the state that `save_checkpoint` wrote, without running code from it. Raises `BadInput` if it is damaged."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise BadInput(
            f"{path}: the checkpoint cannot be read ({type(error).__name__}); to resume from the previous one, "
            f"enter its file name in {path.parent / POINTER}."
        ) from error
