"""The few reference images of a domain."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.media.folders import find_stills
from gen.media.left_out import LeftOut
from gen.provenance import fingerprint_bytes
from gen.stylegan2.photos import read_square


@dataclass(frozen=True)
class References:
    """The reference images of a domain."""

    images: Tensor
    """(n, 3, size, size) in [-1, 1]."""
    files: tuple[str, ...]
    hashes: tuple[str, ...]
    """SHA-256 prefixes of the pixels, which identify the references in the record of a run."""
    warnings: tuple[str, ...] = field(default=())
    left_out: int = 0
    """Images that cannot be read."""


def load_references(folder: Path, size: int, strict: bool = False) -> References:
    """Every image in `folder`: its middle square, scaled to the generator's size.

    At that size references and generated images are equally sharp; otherwise sharpness would be part of the domain.
    Unreadable files and exact duplicates are skipped with a warning: a duplicate would only shift the mean. Raises
    `BadInput` where nothing is left, and with `strict` if any file is unreadable.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of reference images.")
    paths = find_stills(folder)
    if not paths:
        raise BadInput(f"{folder}: no readable reference image; jpg, png, webp, bmp or tiff files are needed.")
    images: dict[str, Tensor] = {}
    files: dict[str, str] = {}
    warnings: list[str] = []
    left_out = LeftOut()
    for path in paths:
        try:
            image = read_square(path, size)
        except BadInput as error:
            left_out[path] = str(error)
            continue
        key = fingerprint_bytes(image.numpy().tobytes())
        if key in images:
            warnings.append(f"skipped: {path} is the same image as {files[key]}")
        else:
            images[key], files[key] = image, path.name
    left_out.check(folder, len(paths), strict)
    warnings += [f"skipped: {why}" for why in left_out.values()]
    return References(
        torch.stack(list(images.values())), tuple(files.values()), tuple(images), tuple(warnings), len(left_out)
    )


def exposures(images: Tensor) -> Tensor:
    """(n, C, H, W) in [-1, 1] -> (4 n, C, H, W): all images with the full light, a half, a quarter and an eighth.

    Light is the value (0..1) to the power of 2.2. Features of these copies span how a picture changes with brightness.
    """
    values = (images + 1) / 2
    return torch.cat([values * share ** (1 / 2.2) for share in (1, 1 / 2, 1 / 4, 1 / 8)]) * 2 - 1


def record(references: References) -> dict[str, Any]:
    """Files and hashes, for the record of a run: a resumed run must find the same; and the unusable ones."""
    kept: dict[str, Any] = {"files": list(references.files), "hashes": list(references.hashes)}
    return kept | ({"left_out": references.left_out} if references.left_out else {})
