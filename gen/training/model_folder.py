"""Write a model folder so that a killed export never leaves one that mixes old and new weights."""

import logging
import os
import shutil
from collections.abc import Callable, Generator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import json_if_whole
from gen.formats.model_folders import WEIGHTS as ONE_FILE
from gen.formats.model_folders import weight_files
from gen.formats.safetensors_files import read_safetensors
from gen.media.files import make_out_folder, open_to_others
from gen.provenance import fingerprint_weights
from gen.weights import CARD, CONFIG, INDEX

TEMPORARY = ".gen-model"
"""Folder inside the model's folder in which a new version is written."""
WEIGHTS = ("*.safetensors", "*.safetensors.index*.json")
NOTES = "notes.md"
"""What people write on the training data; model cards have it verbatim."""

log = logging.getLogger(__name__)


def tell_of_notes(folder: Path, old: Set[str], new: Set[str]) -> None:
    """Say that the folder's notes may be on other data: its model was trained on `old`, and the next one on `new`."""
    if (folder / NOTES).is_file() and old and old != new:
        log.warning(
            "%s was written when the model was trained on %s; it goes into the card of this one, which was trained on "
            "%s: see that it still holds",
            folder / NOTES,
            ", ".join(sorted(old)),
            ", ".join(sorted(new)),
        )


def save_model(folder: Path, save: Callable[[Path], object], index: str) -> None:
    """Call `save` with a temporary folder, then move its files to `folder`; other files there stay.

    What the folder says of the old weights, training.json and the model card, is removed with them.

    `index`: the file without which a folder is no model, model_index.json or config.json. It is removed first and moved
    last, so that the folder is the old model, the new one, or none. Old weights are removed: loading would prefer
    float32 files of an earlier export to new ones in float16. So are the folders of networks that the old index names
    and the new model lacks. Raises `BadSetting` as `check_kind` does.
    """
    check_kind(folder, index)
    with _written(folder, save) as (temporary, files):
        _check_class(folder / index, temporary / index)
        forget_model(folder, index, {path.parts[0] for path in files})
        for parent in {path.parent for path in files if path.suffix == ".safetensors"}:
            _remove_weights(folder / parent)
        _move(temporary, folder, files, index)


def save_parts(
    folder: Path, parts: Set[str], save: Callable[[Path], object], index: str, variant: str | None = None
) -> None:
    """As `save_model`, for a pipeline that has the networks `parts`; of the same weights, other precisions stay.

    `variant`: the precision that is saved, as diffusers calls it, for example "fp16"; None: full. Raises `BadSetting`
    as `check_kind` does.
    """
    check_kind(folder, index)
    mark = f".{variant}" if variant else ""
    with _written(folder, save) as (temporary, files):
        _check_class(folder / index, temporary / index)
        same = {p for p in parts if _content(temporary / p, variant) == _content(folder / p, "fp16")}
        if len(same) < len(parts) or networks_of(folder / index) - parts:
            forget_model(folder, index, parts)
        (folder / index).unlink(missing_ok=True)
        for part in parts - same:
            _remove_weights(folder / part)
        for part in same:  # whole files and split ones do not replace each other
            (folder / part / ONE_FILE.replace(".", f"{mark}.")).unlink(missing_ok=True)
            (folder / part / f"{ONE_FILE}.index{mark}.json").unlink(missing_ok=True)
        _move(temporary, folder, files, index)


def check_kind(folder: Path, index: str) -> None:
    """Raises `BadSetting` if a folder holds a pipeline, and a single network is to be saved there, or the reverse.

    Neither would replace the other: the folder would be two models with one card.
    """
    if index == INDEX:
        held = (folder / CONFIG).is_file() and any(folder.glob(WEIGHTS[0]))
    else:
        held = (folder / INDEX).is_file()
    if held:
        raise BadSetting(f"{folder}: this folder holds a model of another kind; choose another folder.")


def _check_class(old: Path, new: Path) -> None:
    """Raises `BadSetting` if the index `old` is of another class of models than `new`: its networks would be lost."""
    before, now = (json_if_whole(index).get("_class_name") for index in (old, new))
    if before is not None and before != now:
        raise BadSetting(
            f"{old.parent}: this folder holds a model of another kind ({short(str(before))}); choose another folder."
        )


@contextmanager
def _written(folder: Path, save: Callable[[Path], object]) -> Generator[tuple[Path, list[Path]]]:
    """What `save` writes: a temporary folder in `folder`, and the files in it, relative to it."""
    make_out_folder(folder)
    temporary = folder / TEMPORARY
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed export
    try:
        save(temporary)
        files = [path.relative_to(temporary) for path in sorted(temporary.rglob("*")) if path.is_file()]
        for path in files:
            open_to_others(temporary / path)
        yield temporary, files
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, folder: Path, files: Sequence[Path], index: str) -> None:
    """Move the files, the index last."""
    for path in sorted(files, key=lambda path: path == Path(index)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary / path, folder / path)


def _remove_weights(folder: Path) -> None:
    for file in (file for pattern in WEIGHTS for file in folder.glob(pattern)):
        file.unlink()


def _content(folder: Path, variant: str | None) -> str | None:
    """The fingerprint of a network's weights; None if there are none."""
    return _weights_in(_files(folder, variant))


def _files(folder: Path, variant: str | None) -> list[Path]:
    """The files with a network's weights, of the variant if it is there, else of full precision; [] without any."""
    try:
        return weight_files(folder, variant)
    except BadInput:
        return []


def _weights_in(files: Sequence[Path]) -> str | None:
    """The fingerprint of weights, the same in full and in half precision; None if there are none, or damaged ones."""
    try:
        weights = {name: value for file in files for name, value in read_safetensors(file)[0].items()}
    except BadInput:
        return None
    return fingerprint_weights(weights, torch.float16) if weights else None


def forget_model(folder: Path, index: str, parts: Set[str]) -> None:
    """Remove the index, the records, and the networks that the index names, except those called as the new `parts`.

    Of a network's folder only the network's own files go, and the folder if nothing else is in it: the index is a file
    that anyone may have written.
    """
    old_parts = networks_of(folder / index)
    (folder / index).unlink(missing_ok=True)
    forget_records(folder)
    for name in old_parts - parts:
        old = folder / name
        if name in ("", ".", "..") or Path(name).name != name or old.is_symlink() or not old.is_dir():
            continue
        _remove_weights(old)
        (old / CONFIG).unlink(missing_ok=True)
        with suppress(OSError):  # something else is in it
            old.rmdir()


def networks_of(index: Path) -> set[str]:
    """The networks that a model_index.json names; none if there is no such file."""
    found = {name: value for name, value in json_if_whole(index).items() if isinstance(value, list)}
    return {name for name, value in found.items() if not name.startswith("_") and any(value)}


def forget_records(folder: Path) -> None:
    """Remove what a model folder says of its weights, which are about to be replaced."""
    for name in (CARD, "training.json"):
        (folder / name).unlink(missing_ok=True)
