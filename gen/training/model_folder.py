"""Write a model folder so that a killed export never leaves one that mixes old and new weights."""

import os
import shutil
from collections.abc import Callable, Set
from pathlib import Path

import torch

from gen.errors import BadInput
from gen.formats.json_files import json_if_whole
from gen.formats.model_folders import weight_files
from gen.formats.safetensors_files import read_safetensors
from gen.media.files import make_out_folder, open_to_others
from gen.provenance import fingerprint_weights
from gen.weights import CARD

TEMPORARY = ".gen-model"
"""Folder inside the model's folder in which a new version is written."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def save_model(folder: Path, save: Callable[[Path], object], index: str) -> None:
    """Call `save` with a temporary folder, then move its files to `folder`; other files there stay.

    What the folder says of the old weights, training.json and the model card, is removed with them.

    `index`: the file without which a folder is no model, model_index.json or config.json. It is removed first and moved
    last, so that the folder is the old model, the new one, or none. Old weights are removed: loading would prefer
    float32 files of an earlier export to new ones in float16. So are the folders of networks that the old index names
    and the new model lacks.
    """
    make_out_folder(folder)
    temporary = folder / TEMPORARY
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed export
    try:
        save(temporary)
        files = [path.relative_to(temporary) for path in sorted(temporary.rglob("*")) if path.is_file()]
        for path in files:
            open_to_others(temporary / path)
        forget_model(folder, index, {path.parts[0] for path in files})
        for parent in {path.parent for path in files if path.suffix == ".safetensors"}:
            for old in (old for pattern in WEIGHTS for old in (folder / parent).glob(pattern)):
                old.unlink()
        for path in sorted(files, key=lambda path: path == Path(index)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / path, folder / path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def save_parts(folder: Path, parts: Set[str], save: Callable[[], object]) -> None:
    """Call `save`, by which a pipeline writes its networks `parts` to `folder` in place of those that may be there.

    If they are others, what the folder says of the old ones is removed, and so are their files in half precision.
    """
    before = {part: _weights_in(folder / part) for part in parts}
    save()
    changed = [part for part, old in before.items() if _weights_in(folder / part) != old]
    for part in parts:
        for file in (folder / part).glob("*.safetensors"):
            open_to_others(file)
            if part in changed and ".fp16" in file.name:
                file.unlink()
    if changed:
        forget_records(folder)


def _weights_in(folder: Path) -> str | None:
    """The fingerprint of a network's weights, the same in full and in half precision; None if there are none."""
    try:
        files = weight_files(folder)
        return fingerprint_weights(
            {k: v for file in files for k, v in read_safetensors(file)[0].items()}, torch.float16
        )
    except BadInput:
        return None


def forget_model(folder: Path, index: str, parts: Set[str]) -> None:
    """Remove the index, the records, and the networks that the index names, except those called as the new `parts`."""
    old_parts = [name for name, value in json_if_whole(folder / index).items() if isinstance(value, list)]
    (folder / index).unlink(missing_ok=True)
    forget_records(folder)
    for name in set(old_parts) - parts:
        if Path(name).name == name and not (folder / name).is_symlink():
            shutil.rmtree(folder / name, ignore_errors=True)


def forget_records(folder: Path) -> None:
    """Remove what a model folder says of its weights, which are about to be replaced."""
    for name in (CARD, "training.json"):
        (folder / name).unlink(missing_ok=True)
