"""Which images of each domain are trained on, validated on, and measured."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen.errors import BadInput
from gen.formats.json_files import json_if_whole
from gen.provenance import fingerprint_bytes
from gen.smd.writing import RECORD
from gen.smos.datasets import Domain, DomainSet, load_domains, split_domain
from gen.smos.settings import SMOSSettings
from gen.training.data_record import HELD_OUT
from gen.training.frames import frames_on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some images of a domain."""

    index: int
    """Number of the domain in its data set: a seed of splits and draws."""
    domain: Domain
    indices: NDArray[np.int64]

    def on(self, device: torch.device) -> "Part":
        """The part with the images of its domain on a GPU, if they fit well: see `frames_on`."""
        frames = frames_on(self.domain.frames, device)
        return replace(self, domain=replace(self.domain, frames=frames))


@dataclass
class Parts:
    """The parts of a data set in one run."""

    dataset: str
    classes: tuple[str, ...]
    record: dict[str, Any]
    """For the record of the run: images by domain, and how many were left out."""
    train: list[Part] = field(default_factory=list[Part])
    validation: list[Part] = field(default_factory=list[Part])
    """Held-out images of the sources, in the order of `train`."""
    target: Part | None = None
    """Four fifths of the target: accuracy is reported on them."""
    target_held_out: Part | None = None
    """The other fifth: the oracle rule selects by it."""


def read_parts(settings: SMOSSettings) -> Parts:
    """Load the data set and split it. Raises `BadInput` or `BadSetting`."""
    s = settings
    cache = s.cache or s.out / "cache"
    data = load_domains(s.data, s.size, cache, s.dataset, s.strict)
    held = load_domains(s.val, s.size, cache, s.dataset, s.strict) if s.val else None
    if held and (held.classes, held.names) != (data.classes, data.names):
        raise BadInput(f"{s.val}: its domains and classes differ from those of {s.data}.")
    seen = _seen(data, held) if held else 0
    if held and s.val and (seen == sum(map(len, held.domains)) or _same_levels(s.data, s.val)):
        raise BadInput(
            f"{s.val}: its images are those that are trained on, so nothing is held out; give others, for game scenes "
            "those of `gen render-smd --split val`."
        )
    if seen:
        log.warning("%s: %d of its images are also among those of %s.", s.val, seen, s.data)
    parts = Parts(data.name, data.classes, data.record())
    if left_out := {d.name: len(d.frames.left_out) for d in data.domains if d.frames.left_out}:
        parts.record["left_out"] = left_out
    if held:
        parts.record[HELD_OUT] = held.sizes()
    target = None if s.target is None else data.index(s.target)
    for index, domain in enumerate(data.domains):
        _add(parts, index, domain, held.domains[index] if held else None, s.seed, is_target=index == target)
    return parts


def _seen(data: DomainSet, held: DomainSet) -> int:
    """How many images of `held` are, pixel by pixel, also in their domain of `data`."""
    seen = 0
    for trained, other in zip(data.domains, held.domains, strict=True):
        known = set(_digests(trained))
        seen += sum(digest in known for digest in _digests(other))
    return seen


def _digests(domain: Domain) -> list[str]:
    return [fingerprint_bytes(domain.images([index]).numpy().tobytes()) for index in range(len(domain))]


def _same_levels(one: Path, other: Path) -> bool:
    """Whether both folders hold game scenes of the same levels, perhaps of another size or number."""
    drawn = [(record.get("seed"), record.get("split")) for record in (json_if_whole(f / RECORD) for f in (one, other))]
    return drawn[0] == drawn[1] != (None, None)


def _add(parts: Parts, index: int, domain: Domain, held: Domain | None, seed: int, is_target: bool) -> None:
    """Sort a domain's images into training, validation and target parts. `held`: its images in `val`."""
    measured = held or domain
    if len(measured) < 5:
        raise BadInput(
            f"{measured.frames.folder}: {len(measured)} images are too few to hold out a fifth; at least 5 are needed."
        )
    split = split_domain(len(measured), seed, index)
    inner, outer = Part(index, measured, split.inner), Part(index, measured, split.outer)
    if is_target:
        parts.target, parts.target_held_out = inner, outer
    elif held:
        parts.train.append(Part(index, domain, np.arange(len(domain))))
        parts.validation.append(Part(index, held, np.arange(len(held))))
    else:
        parts.train.append(inner)
        parts.validation.append(outer)
