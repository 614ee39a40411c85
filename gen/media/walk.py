"""Walk a folder tree: linked folders are followed, each folder is read once, and what is not read has a reason."""

import os
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

HIDDEN = "hidden file or folder"
BROKEN_LINK = "broken link"
READ_ALREADY = "a link to a folder that is read already"
SPECIAL = "not a regular file"

MAX_SUFFIXES = 6
"""Suffixes that a line of `describe_left_out` names."""


def walk(root: Path, left_out: dict[str, str], skip: Path | None = None) -> Iterator[Path]:
    """The regular files below `root`, in no particular order.

    A folder that several paths lead to is read once, so that links cannot lead in circles: through its own path if it
    lies below `root`, else through the first link. Hidden names are not read. `left_out` receives what is not read:
    path relative to `root`, with "/" between its parts -> reason. `skip`: a folder that is not entered.
    """
    seen: set[tuple[int, int] | None] = set()
    skipped = _identity(skip) if skip is not None else None
    folders, links = deque([root]), deque[Path]()
    while folders or links:
        folder = (folders or links).popleft()
        key = _identity(folder)
        if key is not None and key == skipped:
            continue
        if key is not None and key in seen:
            left_out[_name(folder, root)] = READ_ALREADY
            continue
        seen.add(key)
        for entry in _entries(folder, root, left_out):
            path = folder / entry.name
            reason = _reason_unread(entry)
            if reason is not None:
                left_out[_name(path, root)] = reason
            elif _is_folder(entry):
                (links if entry.is_symlink() else folders).append(path)
            else:
                yield path


def _entries(folder: Path, root: Path, left_out: dict[str, str]) -> list[os.DirEntry[str]]:
    """The content of a folder, sorted by name; empty, with a reason in `left_out`, if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        left_out[_name(folder, root)] = f"the folder cannot be read ({error.strerror})"
        return []


def _reason_unread(entry: os.DirEntry[str]) -> str | None:
    """Why a file or folder is not read; None if it is."""
    if entry.name.startswith("."):
        return HIDDEN
    if not entry.is_symlink() and (entry.is_dir() or entry.is_file()):
        return None
    try:
        mode = os.stat(entry.path).st_mode
    except FileNotFoundError:
        return BROKEN_LINK
    except OSError as error:  # a link to itself, a folder on the way that must not be entered
        return f"{BROKEN_LINK} ({error.strerror})"
    return None if stat.S_ISDIR(mode) or stat.S_ISREG(mode) else SPECIAL


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(folder: Path) -> tuple[int, int] | None:
    """Device and inode: the same for every path that leads to the folder. None if there is no such folder."""
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def describe_left_out(left_out: Mapping[str, str]) -> list[str]:
    """One line for each reason, for example "7 files not read (.txt, .xyz): not a picture"."""
    lines: list[str] = []
    for reason in dict.fromkeys(left_out.values()):
        names = [name for name, why in left_out.items() if why == reason]
        suffixes = sorted({Path(name).suffix.lower() for name in names} - {""})
        more = ", ..." if len(suffixes) > MAX_SUFFIXES else ""
        kinds = f" ({', '.join(suffixes[:MAX_SUFFIXES])}{more})" if suffixes else ""
        lines.append(f"{len(names)} {'files' if len(names) > 1 else 'file'} not read{kinds}: {reason}")
    return lines
