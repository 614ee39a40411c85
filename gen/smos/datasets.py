"""Data sets of several domains: ROOT/DOMAIN/CLASS/IMAGE, found, checked, split as DomainBed does, and drawn from.

Every draw is a pure function of (seed, domain, number of the sample), so that a resumed run sees the same pictures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.errors import BadInput, BadSetting
from gen.training.data import Frames, load_frames

OFFICE_HOME = (
    "Alarm_Clock Backpack Batteries Bed Bike Bottle Bucket Calculator Calendar Candles Chair Clipboards Computer Couch "
    "Curtains Desk_Lamp Drill Eraser Exit_Sign Fan File_Cabinet Flipflops Flowers Folder Fork Glasses Hammer Helmet "
    "Kettle Keyboard Knives Lamp_Shade Laptop Marker Monitor Mop Mouse Mug Notebook Oven Pan Paper_Clip Pen Pencil "
    "Postit_Notes Printer Push_Pin Radio Refrigerator Ruler Scissors Screwdriver Shelf Sink Sneakers Soda Speaker "
    "Spoon TV Table Telephone ToothBrush Toys Trash_Can Webcam"
)


@dataclass(frozen=True)
class Benchmark:
    """What a known data set must hold."""

    domains: dict[str, tuple[str, ...]]
    """Each domain's usual folder name, and other names that people gave it."""
    classes: tuple[str, ...] | int
    """Their names, or how many there are."""


BENCHMARKS: dict[str, Benchmark] = {
    "PACS": Benchmark(
        {"art_painting": ("painting", "art"), "cartoon": (), "photo": (), "sketch": ()},
        ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person"),
    ),
    "VLCS": Benchmark(
        {
            "Caltech101": ("caltech",),
            "LabelMe": (),
            "SUN09": ("sun",),
            "VOC2007": ("pascal", "voc", "voc2007"),
        },
        ("bird", "car", "chair", "dog", "person"),
    ),
    "OfficeHome": Benchmark(
        {"Art": (), "Clipart": (), "Product": (), "Real": ("realworld", "real world", "real_world")},
        tuple(OFFICE_HOME.split()),
    ),
    "TerraIncognita": Benchmark(
        {f"location_{n}": (f"l{n}", str(n)) for n in (100, 38, 43, 46)},
        ("bird", "bobcat", "cat", "coyote", "dog", "empty", "opossum", "rabbit", "raccoon", "squirrel"),
    ),
    "DomainNet": Benchmark(
        {"clipart": (), "infograph": (), "painting": (), "quickdraw": (), "real": (), "sketch": ()}, 345
    ),
}


@dataclass(frozen=True)
class Domain:
    """A folder of class folders, decoded."""

    name: str
    frames: Frames
    labels: NDArray[np.int64]
    """(images,), indices into the data set's classes."""

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
    """In the order of their names, which numbers them for the splits."""

    @property
    def names(self) -> list[str]:
        """Of the domains."""
        return [d.name for d in self.domains]

    def place(self, name: str) -> int:
        """The number of a domain, by its name or another name of it. Raises `BadSetting` for one that is not there."""
        return self.names.index(usual_name(self.name, self.names, name))


def usual_name(dataset: str, names: Sequence[str], given: str) -> str:
    """The one of `names` that is meant by `given`, a name or another name of it. Raises `BadSetting` for neither."""
    known = {_plain(n): n for n in names}
    for own, others in BENCHMARKS[dataset].domains.items() if dataset in BENCHMARKS else ():
        if own in names:
            known |= {_plain(other): own for other in others}
    if _plain(given) not in known:
        raise BadSetting(f"target {given}: there is no such domain; choose {', '.join(names)} or all.")
    return known[_plain(given)]


def _plain(name: str) -> str:
    """A name without case, spaces and signs, so that "Real World" and RealWorld are the same."""
    return "".join(c for c in name.lower() if c.isalnum())


def find_benchmark(root: Path, name: str = "auto") -> tuple[str, dict[str, Path]]:
    """The data set's name and the folder of each domain, by usual name, in alphabetical order.

    `name`: one of BENCHMARKS; `any` takes all folders in `root` as domains; `auto` takes a benchmark whose domains are
    all there, else as `any`, but where just one is missing it says so. Raises `BadInput` or `BadSetting`.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder; a data set lies as DOMAIN/CLASS/IMAGE in its folder.")
    folders = {f.name: f for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith((".", "_"))}
    if name in ("auto", "any"):
        for known in BENCHMARKS if name == "auto" else ():
            found, missing = _match(BENCHMARKS[known], folders)
            if not missing:
                return find_benchmark(root, known)
            if len(missing) == 1 and len(found) == len(folders):
                raise BadInput(
                    f"{root}: this looks like {known} without its domain {missing[0]}; add the folder, or set "
                    f"dataset=any to take what is there."
                )
        folders = {n: f for n, f in folders.items() if any(c.is_dir() for c in f.iterdir())}
        if len(folders) < 2:
            raise BadInput(f"{root}: at least two domains are needed, each a folder of class folders.")
        own = root.resolve().name
        return f"{own} (own)" if own in BENCHMARKS else own, dict(sorted(folders.items()))
    if name not in BENCHMARKS:
        raise BadSetting(f"dataset {name}: choose auto, any, {', '.join(BENCHMARKS)}.")
    found, missing = _match(BENCHMARKS[name], folders)
    if missing:
        raise BadInput(f"{root}: {name} has a domain {missing[0]}, and there is no folder of this name.")
    return name, dict(sorted(found.items()))


def _match(benchmark: Benchmark, folders: dict[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Folders by usual domain name, and the domains that have none."""
    plain = {_plain(name): folder for name, folder in folders.items()}
    found: dict[str, Path] = {}
    for own, others in benchmark.domains.items():
        for name in (own, *others):
            if _plain(name) in plain:
                found[own] = plain[_plain(name)]
                break
    return found, [own for own in benchmark.domains if own not in found]


def check_classes(name: str, folders: dict[str, Path]) -> tuple[str, ...]:
    """The classes that every domain has. Raises `BadInput` naming a class or an image that is out of place."""
    classes = {domain: {f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")}
               for domain, folder in folders.items()}  # fmt: skip
    together = set[str]().union(*classes.values())
    wanted = BENCHMARKS[name].classes if name in BENCHMARKS else len(together)
    known = set(wanted) if isinstance(wanted, tuple) else together
    for domain, names in classes.items():
        if known - names:
            missing = min(known - names)
            raise BadInput(f"{folders[domain]}: the class {missing} is missing; all domains need the same classes.")
        if names - known:
            raise BadInput(f"{folders[domain]}: {name} has no class {min(names - known)}; take this folder away.")
        for label in names:
            if not any((folders[domain] / label).iterdir()):
                raise BadInput(f"{folders[domain] / label}: the class folder is empty.")
    if isinstance(wanted, int) and len(known) != wanted:
        raise BadInput(
            f"{next(iter(folders.values())).parent}: {name} has {wanted} classes, and here are {len(known)}."
        )
    if len(known) < 2:
        raise BadInput(f"{next(iter(folders.values())).parent}: at least two classes are needed.")
    return tuple(sorted(known))


def load_domains(root: Path, size: int, cache: Path, name: str = "auto", strict: bool = False) -> DomainSet:
    """Every domain in `root`, each picture squashed to size x size once and kept in `cache` as bytes.

    Pictures that cannot be read are named and left out. Raises `BadInput` or `BadSetting` for whatever else is not as
    it should be, and with `strict` for those too.
    """
    name, folders = find_benchmark(root, name)
    classes = check_classes(name, folders)
    domains: list[Domain] = []
    for domain, folder in folders.items():
        frames = load_frames(domain, folder, cache, size, (1, 1), width=size, strict=strict)
        places = [path.relative_to(folder).parts[:-1] for path in frames.paths]
        if () in places:
            raise BadInput(
                f"{frames.paths[places.index(())]}: an image must lie in a class folder, DOMAIN/CLASS/IMAGE."
            )
        labels = np.array([classes.index(place[0]) for place in places])
        for number, label in enumerate(classes):
            if number not in labels:
                raise BadInput(f"{folder / label}: there is no image in this class folder.")
        domains.append(Domain(domain, frames, labels))
    return DomainSet(name, classes, tuple(domains))


@dataclass(frozen=True)
class Split:
    """A domain's images in two parts, as indices."""

    inner: NDArray[np.int64]
    """Four fifths: what a source is trained on, and a target measured on."""
    outer: NDArray[np.int64]
    """One fifth: what a source is validated on; a target's is the oracle's."""


def split_domain(count: int, seed: int, place: int, holdout: float = 0.2) -> Split:
    """DomainBed's split of the images of domain number `place`: a shuffle seeded by the MD5 of (seed, place)."""
    keys = list(range(count))
    digest = hashlib.md5(str((seed, place)).encode()).hexdigest()
    np.random.RandomState(int(digest, 16) % 2**31).shuffle(keys)
    size = int(count * holdout)
    return Split(np.array(keys[size:], np.int64), np.array(keys[:size], np.int64))


def draw(indices: NDArray[np.int64], seed: int, place: int, sample: int, replacement: bool) -> int:
    """The image of sample number `sample` of a domain's endless sequence: at random, or epoch by epoch."""
    if replacement:
        return int(indices[np.random.default_rng((seed, place, sample)).integers(len(indices))])
    epoch, turn = divmod(sample, len(indices))
    return int(indices[np.random.default_rng((seed, place, epoch, 1)).permutation(len(indices))[turn]])
