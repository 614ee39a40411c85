"""Data sets of several domains, ROOT/DOMAIN/CLASS/IMAGE: load, split as DomainBed does, and sample.

Every sample is a pure function of (seed, domain, sample number), so that a resumed run sees the same images.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.errors import BadInput
from gen.smos.benchmarks import check_classes, duplicates, find_benchmark, usual_name
from gen.training.data_record import BYTES, FILES
from gen.training.frames import Frames, load_frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Domain:
    """A folder of class folders, decoded."""

    name: str
    frames: Frames
    labels: NDArray[np.int64]
    """(images,), indices into the classes of the data set."""

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Sequence[int] | NDArray[np.integer]) -> Tensor:
        """(B, 3, H, W) uint8."""
        return torch.stack([self.frames.frame(int(i)) for i in indices])


@dataclass(frozen=True)
class DomainSet:
    """A data set of several domains with the same classes."""

    name: str
    """One of BENCHMARKS, or the folder's name."""
    classes: tuple[str, ...]
    domains: tuple[Domain, ...]
    """Sorted by name; the position is a seed of the splits."""

    @property
    def names(self) -> list[str]:
        """Names of the domains."""
        return [d.name for d in self.domains]

    def record(self) -> dict[str, Any]:
        """For the record of a run: how many images each domain has, and which, because the splits depend on each."""
        counts = {d.name: len(d) for d in self.domains}
        return {"domains": counts, FILES: {d.name: d.frames.fingerprint for d in self.domains}}

    def sizes(self) -> dict[str, str]:
        """For the record of images that are measured on: the number and bytes of each domain's, in words."""
        return {d.name: f"{len(d)} images, {d.frames.summary()[BYTES]:,} bytes" for d in self.domains}

    def differs_from(self, record: Mapping[str, Any]) -> str | None:
        """What is wrong with the images if a run with this record had others, in words; None if it had the same."""
        now = self.record()
        for name, had in record.get("domains", {}).items():
            if had != (have := now["domains"].get(name, 0)):
                return f"{name} had {had} images then and has {have} now"
            if record.get(FILES, now[FILES]).get(name) != now[FILES][name]:
                return f"{name} had other images then, or the same in other classes"
        return None

    def index(self, name: str) -> int:
        """Position of a domain, by name or alias. Raises `BadSetting` for an unknown one."""
        return self.names.index(usual_name(self.name, self.names, name))


def load_domains(root: Path, size: int, cache: Path, name: str = "auto", strict: bool = False) -> DomainSet:
    """Every domain in `root`, with images resized to size x size (aspect not kept) once, and stored in `cache`.

    Unreadable images are reported and left out, or with `strict` raise. DomainNet's published duplicates are left out.
    Raises `BadInput` or `BadSetting` if the folders are not those of a data set.
    """
    name, folders = find_benchmark(root, name)
    classes = check_classes(name, folders)
    domains: list[Domain] = []
    for domain, folder in folders.items():
        copies = duplicates(name, domain)
        frames = load_frames(domain, folder, cache, size, (1, 1), width=size, strict=strict, without=copies)
        if there := sum((folder / path).is_file() for path in copies):
            log.warning("%s: %d images of the published list of duplicates are not used.", folder, there)
        parents = [path.relative_to(folder).parts[:-1] for path in frames.paths]
        if () in parents:
            raise BadInput(f"{frames.paths[parents.index(())]}: move this image to a class folder, DOMAIN/CLASS/IMAGE.")
        labels = np.array([classes.index(parts[0]) for parts in parents])
        for number, label in enumerate(classes):
            if number not in labels:
                raise BadInput(f"{folder / label}: no readable image in this class folder.")
        domains.append(Domain(domain, frames, labels))
    return DomainSet(name, classes, tuple(domains))


@dataclass(frozen=True)
class Split:
    """Indices of a domain's images, in two parts."""

    inner: NDArray[np.int64]
    """Four fifths: a source is trained on them, a target is measured on them."""
    outer: NDArray[np.int64]
    """One fifth: a source is validated on it; the oracle rule selects by the target's."""


def split_domain(count: int, seed: int, index: int, holdout: float = 0.2) -> Split:
    """DomainBed's split of the images of domain number `index`: a shuffle seeded by the MD5 of (seed, index)."""
    keys = list(range(count))
    digest = hashlib.md5(str((seed, index)).encode(), usedforsecurity=False).hexdigest()
    np.random.RandomState(int(digest, 16) % 2**31).shuffle(keys)
    size = int(count * holdout)
    return Split(np.array(keys[size:], np.int64), np.array(keys[:size], np.int64))


def draw(indices: NDArray[np.int64], seed: int, index: int, sample: int, replacement: bool) -> int:
    """The image that is sample number `sample` of domain number `index`: random, or epoch by epoch."""
    if replacement:
        return int(indices[np.random.default_rng((seed, index, sample)).integers(len(indices))])
    epoch, position = divmod(sample, len(indices))
    # The trailing 1 keeps these seeds apart from the ones above.
    return int(indices[np.random.default_rng((seed, index, epoch, 1)).permutation(len(indices))[position]])
