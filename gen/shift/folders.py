"""Find the domains in folders of images: their root folders, names and files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gen.errors import BadInput
from gen.media.folders import find_stills


@dataclass(frozen=True)
class DomainFolder:
    """The images of one domain."""

    name: str
    root: Path
    files: Sequence[Path]


def find_domains(roots: Sequence[Path], out: Path) -> list[DomainFolder]:
    """The domains in `roots`, in the order given. Raises `BadInput` for a root without
    images, or a domain that is given twice."""
    found = [domain for root in roots for domain in split_domains(root, find_images(root, out))]
    resolved = [folder.resolve() for folder, _ in found]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise BadInput(f"{folder}: this folder is given twice; give every folder once.")
    names = unique_names([folder for folder, _ in found])
    return [DomainFolder(name, folder, files) for name, (folder, files) in zip(names, found, strict=True)]


def find_images(root: Path, out: Path) -> list[Path]:
    """All images below `root`, except those in `out`, our own plots. Raises `BadInput` if there are none."""
    if not root.is_dir():
        raise BadInput(f"{root}: no such folder.")
    ours, here = out.resolve(), root.resolve()
    if ours == here:
        raise BadInput(f"{out}: the output folder is also a folder of images; choose another output folder.")
    files = find_stills(root)
    if ours.is_relative_to(here):
        files = [file for file in files if not file.is_relative_to(root / ours.relative_to(here))]
    if not files:
        raise BadInput(f"{root}: no images in this folder or below it.")
    return files


def split_domains(root: Path, files: Sequence[Path]) -> list[tuple[Path, Sequence[Path]]]:
    """`root` itself for IMAGE or CLASS/IMAGE; its domain folders for DOMAIN/CLASS/IMAGE.

    Raises `BadInput` if images lie deeper or at several depths: then it is ambiguous which folders are classes.
    """
    by_depth = {len(file.relative_to(root).parts): file for file in files}
    if len(by_depth) > 1 or max(by_depth) > 3:
        found = " and ".join(str(file.relative_to(root)) for file in by_depth.values())
        raise BadInput(
            f"{root}: all images must be at the same depth, IMAGE, CLASS/IMAGE or DOMAIN/CLASS/IMAGE, but this "
            f"folder has {found}."
        )
    if max(by_depth) < 3:
        return [(root, files)]
    domains: dict[Path, list[Path]] = {}
    for file in files:
        domains.setdefault(file.parent.parent, []).append(file)
    return list(domains.items())


def unique_names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, with as many parents as make it unique: a/photo and b/photo."""
    paths = [Path(os.path.abspath(folder)) for folder in folders]
    return [_unique_name(path, [other for other in paths if other != path]) for path in paths]


def _unique_name(path: Path, others: Sequence[Path]) -> str:
    for length in range(1, len(path.parts)):
        if all(other.parts[-length:] != path.parts[-length:] for other in others):
            return "/".join(path.parts[-length:])
    return str(path)
