"""Folders of images as domains: where they begin, what they are called, which pictures are theirs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen.errors import BadInput
from gen.media.folders import find_stills


@dataclass(frozen=True)
class DomainFolder:
    """Where the images of a domain lie."""

    name: str
    root: Path
    files: Sequence[Path]


def find_domains(roots: Sequence[Path], out: Path) -> list[DomainFolder]:
    """The domains in `roots`, in the order given. Raises `BadInput` for a root without any, or a domain twice."""
    found = [domain for root in roots for domain in split_domains(root, find_images(root, out))]
    places = [folder.resolve() for folder, _ in found]
    for place in places:
        if places.count(place) > 1:
            raise BadInput(f"{place}: this domain is given twice; name every folder once.")
    names = unique_names([folder for folder, _ in found])
    return [DomainFolder(name, folder, files) for name, (folder, files) in zip(names, found, strict=True)]


def find_images(root: Path, out: Path) -> list[Path]:
    """All pictures below `root`, less our own plots where `out` lies in it. Raises `BadInput` if there are none."""
    if not root.is_dir():
        raise BadInput(f"{root}: there is no such folder of images.")
    ours, here = out.resolve(), root.resolve()
    if ours == here:
        raise BadInput(f"{out}: the plots would lie among the images; choose another output folder.")
    files = find_stills(root)
    if ours.is_relative_to(here):
        files = [file for file in files if not file.is_relative_to(root / ours.relative_to(here))]
    if not files:
        raise BadInput(f"{root}: there are no images in it, nor in any folder below.")
    return files


def split_domains(root: Path, files: Sequence[Path]) -> list[tuple[Path, Sequence[Path]]]:
    """`root` itself if its images lie in it or in class folders; its domain folders if these hold class folders.

    Raises `BadInput` where images lie deeper or at several depths, so that nobody can say what is a class.
    """
    by_depth = {len(file.relative_to(root).parts): file for file in files}
    if len(by_depth) > 1 or max(by_depth) > 3:
        found = " and ".join(str(file.relative_to(root)) for file in by_depth.values())
        raise BadInput(
            f"{root}: images must all lie as IMAGE, as CLASS/IMAGE or as DOMAIN/CLASS/IMAGE, but here are {found}."
        )
    if max(by_depth) < 3:
        return [(root, files)]
    domains: dict[Path, list[Path]] = {}
    for file in files:
        domains.setdefault(file.parent.parent, []).append(file)
    return list(domains.items())


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parents as make it the only one: a/photo and b/photo."""
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    return [_unique_name(path, [other for other in paths if other != path]) for path in paths]


def _unique_name(path: Path, others: Sequence[Path]) -> str:
    for length in range(1, len(path.parts)):
        if all(other.parts[-length:] != path.parts[-length:] for other in others):
            return "/".join(path.parts[-length:])
    return str(path)
