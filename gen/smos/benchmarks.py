"""The folders of a data set ROOT/DOMAIN/CLASS/IMAGE: known data sets, their domains and classes.

This module imports no torch, so that a mistake is reported at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gen.errors import BadInput, BadSetting, unknown
from gen.media.results import is_shift_result

OFFICE_HOME = (
    "Alarm_Clock Backpack Batteries Bed Bike Bottle Bucket Calculator Calendar Candles Chair Clipboards Computer Couch "
    "Curtains Desk_Lamp Drill Eraser Exit_Sign Fan File_Cabinet Flipflops Flowers Folder Fork Glasses Hammer Helmet "
    "Kettle Keyboard Knives Lamp_Shade Laptop Marker Monitor Mop Mouse Mug Notebook Oven Pan Paper_Clip Pen Pencil "
    "Postit_Notes Printer Push_Pin Radio Refrigerator Ruler Scissors Screwdriver Shelf Sink Sneakers Soda Speaker "
    "Spoon TV Table Telephone ToothBrush Toys Trash_Can Webcam"
)

DUPLICATES = Path(__file__).parent / "domainnet_duplicates.txt"
"""DomainBed's list for DomainNet, with its licence."""


@dataclass(frozen=True)
class Benchmark:
    """The domains and classes of a known data set."""

    domains: dict[str, tuple[str, ...]]
    """Usual folder name of each domain, and its aliases."""
    classes: tuple[str, ...] | int
    """Their names, or their number."""


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


def duplicates(dataset: str, domain: str) -> frozenset[str]:
    """CLASS/IMAGE of the images of this domain that the published protocol leaves out as duplicates."""
    return _duplicates().get(domain, frozenset()) if dataset == "DomainNet" else frozenset()


@cache
def _duplicates() -> dict[str, frozenset[str]]:
    lines = DUPLICATES.read_text(encoding="utf-8").splitlines()
    paths = [line.split("/", 1) for line in lines if not line.startswith("#")]
    return {name: frozenset(path for domain, path in paths if domain == name) for name in {d for d, _ in paths}}


def usual_name(dataset: str, names: Sequence[str], given: str) -> str:
    """The one of `names` that `given` is the name or an alias of. Raises `BadSetting` if there is none."""
    known = {_plain(n): n for n in names}
    for own, others in BENCHMARKS[dataset].domains.items() if dataset in BENCHMARKS else ():
        if own in names:
            known |= {_plain(other): own for other in others}
    if _plain(given) not in known:
        raise BadSetting(f"target: {unknown('domain', given, names, ', or all')}")
    return known[_plain(given)]


def targets_of(text: str, dataset: str, names: Sequence[str]) -> list[str]:
    """The domains that `--target` names: all, or some separated by commas. Raises `BadSetting` for an unknown one."""
    if text == "all":
        return list(names)
    return list(dict.fromkeys(usual_name(dataset, names, part.strip()) for part in text.split(",")))


def _plain(name: str) -> str:
    """Letters and digits in lower case, so that "Real World" and RealWorld match."""
    return "".join(c for c in name.lower() if c.isalnum())


def find_benchmark(root: Path, name: str = "auto") -> tuple[str, dict[str, Path]]:
    """Name of the data set, and the folder of each domain by usual name, in alphabetical order.

    `name`: one of BENCHMARKS; `any`: every folder in `root` is a domain; `auto`: a benchmark if all its domains are
    there, else as `any`. If exactly one domain of a benchmark is missing, `auto` raises, because that is most likely
    a mistake. Raises `BadInput` or `BadSetting`.
    """
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder; a data set is a folder of DOMAIN/CLASS/IMAGE.")
    folders = {f.name: f for f in _folders(root) if not f.name.startswith("_")}
    if name in ("auto", "any"):
        for known in BENCHMARKS if name == "auto" else ():
            found, missing = _match(BENCHMARKS[known], folders)
            if not missing:
                return find_benchmark(root, known)
            if len(missing) == 1 and len(found) == len(folders):
                raise BadInput(
                    f"{root}: this looks like {known} without its domain {missing[0]}; add the folder, or set "
                    f"dataset=any to use the folders as they are."
                )
        folders = {n: f for n, f in folders.items() if any(c.is_dir() for c in f.iterdir())}
        if len(folders) < 2:
            raise BadInput(f"{root}: at least two domains are needed, each a folder of class folders.")
        # A folder that is called PACS but is not PACS must not be compared with published numbers of PACS.
        own = root.resolve().name
        return f"{own} (own)" if own in BENCHMARKS else own, dict(sorted(folders.items()))
    if name not in BENCHMARKS:
        raise BadSetting(unknown("dataset", name, ("auto", "any", *BENCHMARKS)))
    found, missing = _match(BENCHMARKS[name], folders)
    if missing:
        raise BadInput(f"{root}: the domain {missing[0]} of {name} is missing; add a folder of this name.")
    return name, dict(sorted(found.items()))


def _folders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted, without hidden ones and results of `gen measure-shift`."""
    inside = [f for f in sorted(folder.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    return [f for f in inside if not is_shift_result(f)]


def _match(benchmark: Benchmark, folders: dict[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Folders by usual domain name, and the domains without a folder."""
    plain = {_plain(name): folder for name, folder in folders.items()}
    found: dict[str, Path] = {}
    for own, others in benchmark.domains.items():
        for name in (own, *others):
            if _plain(name) in plain:
                found[own] = plain[_plain(name)]
                break
    return found, [own for own in benchmark.domains if own not in found]


def check_classes(name: str, folders: dict[str, Path]) -> tuple[str, ...]:
    """The classes, which must be the same in every domain. Raises `BadInput` naming what is missing or too much."""
    classes = {domain: {f.name for f in _folders(folder)} for domain, folder in folders.items()}
    together = set[str]().union(*classes.values())
    wanted = BENCHMARKS[name].classes if name in BENCHMARKS else len(together)
    known = set(wanted) if isinstance(wanted, tuple) else together
    for domain, names in classes.items():
        if known - names:
            missing = min(known - names)
            raise BadInput(f"{folders[domain]}: the class {missing} is missing; all domains need the same classes.")
        if names - known:
            raise BadInput(f"{folders[domain]}: {name} has no class {min(names - known)}; remove this folder.")
        for label in names:
            if not any((folders[domain] / label).iterdir()):
                raise BadInput(f"{folders[domain] / label}: the class folder is empty.")
    if isinstance(wanted, int) and len(known) != wanted:
        raise BadInput(
            f"{next(iter(folders.values())).parent}: {name} has {wanted} classes, but there are {len(known)}."
        )
    if len(known) < 2:
        raise BadInput(f"{next(iter(folders.values())).parent}: at least two classes are needed.")
    return tuple(sorted(known))
