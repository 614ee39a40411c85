"""Training state on disk: written atomically, found again by a pointer file, read without unpickling code."""

import json
import os
from pathlib import Path
from typing import Any

import torch

from gen.errors import BadInput
from gen.media.files import sweep, write_atomically

POINTER = "latest.json"
KEPT = 2
"""Checkpoints that stay on disk: the last one, and the one before in case the disk fails under the last."""


def save_checkpoint(folder: Path, images_shown: int, state: dict[str, Any]) -> Path:
    """Write `state` (tensors, numbers, strings, containers) as `state-IMAGES.pt`, then point to it.

    A kill at any moment leaves either the old or the new checkpoint in force, never a half one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    path = folder / f"state-{images_shown:09d}.pt"
    with write_atomically(path) as partial:
        torch.save(state, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
    with write_atomically(folder / POINTER) as partial:
        partial.write_text(json.dumps({"file": path.name, "images_shown": images_shown}))
    for old in sorted(folder.glob("state-*.pt"))[:-KEPT]:
        old.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that the pointer names, or None where there is none yet."""
    pointer = folder / POINTER
    return folder / json.loads(pointer.read_text())["file"] if pointer.exists() else None


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state that `save_checkpoint` wrote. Raises `BadInput` for a damaged file; never runs code from it."""
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise BadInput(
            f"{path}: the checkpoint cannot be read ({type(error).__name__}); to go on from the one before, "
            f"name that file in {path.parent / POINTER}."
        ) from error
