"""A data set ROOT/DOMAIN/CLASS/IMAGE among the files that a visitor uploads."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gen.media.images import STILL_SUFFIXES
from gen.web.archives import names_in
from gen.web.uploads import SLASH, lift_only_folder


def data_set_in(folder: Path) -> Path:
    """The folder of the domains in what `gather` copied to `folder`.

    A zip or folder of the whole data set adds folders around it, and a zip of one domain a folder inside the domain's.
    """
    while len(inner := list(folder.iterdir())) == 1 and inner[0].is_dir():
        folder = inner[0]
    for domain in inner:
        if domain.is_dir() and any(child.is_dir() for child in domain.glob("*/*")):
            lift_only_folder(domain)
    return folder


def count_domains(files: Iterable[str]) -> int:
    """How many domains uploads hold, by their names alone: it answers before anything is copied. 0: none."""
    parts = [path.parts for path in _paths(files) if path.suffix.lower() in STILL_SUFFIXES]
    while parts and len({part[0] for part in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [part[1:] for part in parts]
    return len({part[0] for part in parts if len(part) > 2})


def _paths(files: Iterable[str]) -> Iterable[PurePosixPath]:
    """The paths of all files, those in zips below a folder of the zip's name."""
    for file in map(Path, files):
        if file.suffix.lower() == ".zip":
            yield from (PurePosixPath(file.stem, name) for name in names_in(file))
        else:
            yield PurePosixPath(file.name.replace(SLASH, "/"))
