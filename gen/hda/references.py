"""Domains to adapt to: a few reference images each, or words."""

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.errors import BadInput, BadSetting
from gen.media.folders import find_stills
from gen.media.images import decode_still
from gen.media.resize import resize, to_float

TEXT = "text:"


@dataclass(frozen=True)
class DomainName:
    """What `name=DIR[:alpha]` or `name=text:WORDS[:alpha]` says."""

    name: str
    folder: Path | None
    words: str | None
    weight: float
    """alpha as given, not yet a share of all."""

    @property
    def place(self) -> str:
        """For the record: the words, or the last two parts of the folder's name."""
        return (
            f"{self.name}={TEXT}{self.words}"
            if self.folder is None
            else f"{self.name}={'/'.join(self.folder.parts[-2:])}"
        )


def parse_domain(text: str) -> DomainName:
    """`sketch=refs/sketch`, `sketch=refs/sketch:0.5`, `angry=text:an angry face:0.3`. Raises `BadSetting`.

    A number after the last colon is always a weight.
    """
    name, equals, rest = text.partition("=")
    if not (equals and name and rest):
        raise BadSetting(
            f"--domain {text}: a domain is given as name=DIR, for example --domain sketch=refs/sketch:0.5."
        )
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise BadSetting(f"--domain {text}: a name has letters, digits and . - _ only.")
    place, colon, last = rest.rpartition(":")
    weight = _number(last) if colon and place and place != TEXT[:-1] else None
    place = rest if weight is None else place
    weight = 1.0 if weight is None else weight
    if not math.isfinite(weight) or weight < 0:
        raise BadSetting(f"--domain {text}: the weight after the colon must be zero or more.")
    if place.startswith(TEXT):
        if not place.removeprefix(TEXT).strip():
            raise BadSetting(f"--domain {text}: after text: come words, for example angry=text:an angry face.")
        return DomainName(name, None, place.removeprefix(TEXT), weight)
    return DomainName(name, Path(place), None, weight)


def parse_domains(texts: tuple[str, ...]) -> list[DomainName]:
    """All of them, with weights that add up to one."""
    if not texts:
        raise BadSetting("--domain: at least one is needed, for example --domain sketch=refs/sketch.")
    domains = [parse_domain(text) for text in texts]
    names = [d.name for d in domains]
    if len(set(names)) < len(names):
        raise BadSetting(f"--domain: every domain needs a name of its own, but they are {', '.join(names)}.")
    total = sum(d.weight for d in domains)
    if total == 0:
        raise BadSetting("--domain: at least one weight must be above zero.")
    return [DomainName(d.name, d.folder, d.words, d.weight / total) for d in domains]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True)
class References:
    """A domain's reference images."""

    images: Tensor
    """(n, 3, size, size) in [-1, 1]."""
    files: tuple[str, ...]
    hashes: tuple[str, ...]
    """SHA-256 prefixes of the pixels, for the record."""
    warnings: tuple[str, ...] = field(default=())


def load_references(folder: Path, size: int, strict: bool = False) -> References:
    """Every still in `folder`: its middle square, scaled to the generator's size, so that both are equally sharp.

    Unreadable files and exact duplicates are left out with a warning. Raises `BadInput` where nothing is left, and
    with `strict` for the first file that is unreadable.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of reference images.")
    images: dict[str, Tensor] = {}
    files: dict[str, str] = {}
    warnings: list[str] = []
    for path in find_stills(folder):
        try:
            image = square(torch.from_numpy(decode_still(path).rgb).permute(2, 0, 1), size)
        except BadInput as error:
            if strict:
                raise
            warnings.append(f"left out: {error}")
            continue
        key = hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16]
        if key in images:
            warnings.append(f"left out: {path} is the same picture as {files[key]}")
        else:
            images[key], files[key] = image, path.name
    if not images:
        reasons = "".join(f"\n  {w}" for w in warnings)
        raise BadInput(f"{folder}: no readable reference image; jpg, png, webp, bmp or tiff files are needed.{reasons}")
    return References(torch.stack(list(images.values())), tuple(files.values()), tuple(images), tuple(warnings))


def square(image: Tensor, size: int) -> Tensor:
    """uint8 (3, H, W) -> its middle square as (3, size, size) in [-1, 1], antialiased."""
    side = min(image.shape[1:])
    top, left = ((have - side) // 2 for have in image.shape[1:])
    cut = to_float(image[None, :, top : top + side, left : left + side])
    return resize(cut, (size, size))[0].clamp(-1, 1).contiguous()


def record(references: References) -> dict[str, Any]:
    """For the record of a run."""
    return {"files": list(references.files), "hashes": list(references.hashes)}
