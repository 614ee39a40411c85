"""The output folder of a run behind a URL, and the folder of the stage that stands for it."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gen.errors import BadInput, BadSetting, GenError
from gen.media.files import FOREIGN_AGE, write_atomically
from gen.media.folders import Stamp, stamp_of
from gen.translation.remote.inputs import below, fetch, prune
from gen.translation.remote.placeholders import empty_middle, is_empty, is_placeholder, write_placeholder
from gen.translation.remote.reports import Change, edit, is_report
from gen.translation.remote.store import UPLOAD, Store, reason

SAVE_SECONDS = 10.0
"""Seconds between two saves of what the stage knows of the store."""


def is_temporary(name: str) -> bool:
    """Whether a file is one of gen's own that has no meaning elsewhere: a lock, or a file that is being written."""
    return name.rpartition("/")[2].startswith(".gen-") and not is_report(name)


class Outputs:
    """A folder behind a URL, and what the stage has of it: placeholders, and files that are fetched or newly written.

    `_same` has the stamp that each file had in the store when the stage was last the same. A file of the store that has
    another one now was written by somebody else since: it is taken as it is, and never overwritten unseen.
    """

    def __init__(self, store: Store, folder: Path, note: Path, to_stage: Change, to_store: Change) -> None:
        """`folder`: of the stage; `note`: the file in which `_same` is kept. The changes are of reports."""
        self.store, self.folder, self._note = store, folder, note
        self._to_stage, self._to_store = to_stage, to_store
        self.failed: dict[str, str] = {}
        """Files that could not be written to the store, by path inside the folder, with a sentence."""
        self._same = _read_note(note)
        self._removed: set[str] = set()
        """What the run has removed. Other files that are no longer here, as in a cache that was cleaned, stay there."""
        self._lock = threading.Lock()
        self._next_save = 0.0

    def mirror(self, names: Iterable[str] | None = None) -> None:
        """Make the folder of the stage show what is in the store; what was not put there yet stays.

        `names`: the only files of interest. Raises `BadSetting`.
        """
        found = self._found(names)
        self._sweep(found)
        prune(self.folder, lambda name: name in found or not self._came_from_store(name))
        for name, stamp in found.items():
            path = self.folder / name
            if is_temporary(name) or (self._same.get(name) == stamp and path.is_file()):
                continue
            with suppress(OSError):  # a name that gen could not write here has no meaning to it
                self._take(name, path, stamp)
        self._same = {name: stamp for name, stamp in found.items() if (self.folder / name).is_file()}
        self._save()

    def _found(self, names: Iterable[str] | None) -> dict[str, Stamp]:
        if names is None:
            return self.store.files({}) if self.store.kind() else {}
        return {name: stamp for name in names if (stamp := self.store.stamp(name)) is not None}

    def _sweep(self, found: Mapping[str, Stamp]) -> None:
        """Remove what killed runs have left half written, when it is a day old: other machines may be at work."""
        for name, stamp in found.items():
            if name.rpartition("/")[2].startswith(UPLOAD) and time.time() - stamp.mtime_ns / 1e9 > FOREIGN_AGE:
                with suppress(GenError):
                    self.store.remove(name)

    def _came_from_store(self, name: str) -> bool:
        return name in self._same or (not is_report(name) and is_placeholder(self.folder / name))

    def _take(self, name: str, path: Path, stamp: Stamp) -> None:
        """Let the stage have what the store has under a name, which is not what it had when they were the same."""
        if is_report(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            self.store.get(name, path, stamp)
            edit(path, path, self._to_stage)
            _give_time(path, stamp)
        else:
            write_placeholder(path, stamp)

    def _is_same(self, name: str) -> bool:
        """Whether the store has a file as it is here. Reports name files otherwise there, and are of another size."""
        here, there = stamp_of(self.folder / name), self._same.get(name)
        return here == there or (here and there and is_report(name) and here.mtime_ns == there.mtime_ns) is True

    def fetch(self, paths: Iterable[Path], whole: bool) -> None:
        """Fetch those of these outputs of which the stage lacks the content, or also those without their middle.

        Raises `BadSetting` if there is no room, or if one cannot be fetched: it could not be told whose it is.
        """
        lacks = is_placeholder if whole else is_empty
        names = {path: path.relative_to(self.folder).as_posix() for path in paths if path.is_file()}
        names = {path: name for path, name in names.items() if name in self._same and lacks(path)}
        for error in fetch(self.store, names).values():
            raise BadSetting(str(error))

    def push(self, name: str) -> None:
        """Write a file of the stage to the store; one that fails is told, and kept in `failed`."""
        path = self.folder / name
        try:
            if not path.is_file() or (not is_report(name) and is_placeholder(path)):
                return
            now = self.store.stamp(name)
            if now is not None and now != self._same.get(name):
                raise BadInput(f"{self.store.name(name)}: another program has written this file meanwhile; it is kept.")
            before = stamp_of(path)
            stamp = self._put_report(path, name) if is_report(name) else self.store.put(path, name)
        except Exception as error:
            sentence = str(error) if isinstance(error, GenError) else f"{self.store.name(name)}: {reason(error)}."
            self.failed[name] = f"{sentence} It was not uploaded; run the same command again."
            tqdm.write(f"failed: {self.failed[name]}", file=sys.stderr)
            return
        with self._lock:
            self.failed.pop(name, None)
            self._same[name] = stamp
            if stamp_of(path) == before:  # else it has been written anew meanwhile
                _give_time(path, stamp)
            if time.monotonic() > self._next_save:
                self._save()

    def _put_report(self, path: Path, name: str) -> Stamp:
        draft = self._note.with_name(f"draft{path.suffix}")
        edit(path, draft, self._to_store)
        return self.store.put(draft, name)

    def removed(self, path: Path) -> None:
        """Note that the run has removed a file of an earlier translation, see `Watch.removed`."""
        if path.is_relative_to(self.folder):
            self._removed.add(path.relative_to(self.folder).as_posix())

    def push_changed(self) -> None:
        """Write what is not in the store yet, and remove there what the run has removed; reports last."""
        here = below(self.folder)
        for name in here:
            if not is_temporary(name) and not is_report(name) and not self._is_same(name):
                self.push(name)
        self.failed = {name: why for name, why in self.failed.items() if name in here}
        for name in self._same.keys() - here.keys():
            if name in self._removed or _report_of(name) in here:
                self._remove(name)
        self.push_reports()
        self._save()

    def release(self, path: Path) -> None:
        """Free the room of an output that is done with, if the store has it."""
        if path.is_file() and self._is_same(path.relative_to(self.folder).as_posix()):
            empty_middle(path)

    def push_reports(self) -> None:
        """Write the records that have changed, then the reports."""
        names = [name for name in below(self.folder) if is_report(name) and not self._is_same(name)]
        for name in sorted(names, key=lambda name: (name.endswith(".json"), name)):
            self.push(name)

    def _remove(self, name: str) -> None:
        try:
            if self.store.stamp(name) == self._same[name]:
                self.store.remove(name)
            del self._same[name]
        except GenError as error:
            tqdm.write(f"warning: {error} It should be removed, but was not.", file=sys.stderr)

    def _save(self) -> None:
        with write_atomically(self._note) as partial:
            partial.write_text(json.dumps(self._same), encoding="utf-8")
        self._next_save = time.monotonic() + SAVE_SECONDS


def _report_of(name: str) -> str | None:
    """The report that a record has become part of, by path, once it is there; None for other files."""
    path = PurePosixPath(name)
    if not (is_report(name) and path.suffix == ".jsonl"):
        return None
    return path.with_name(f"{path.stem.removeprefix('.gen-')}.json").as_posix()


def _give_time(path: Path, stamp: Stamp) -> None:
    """Give a file of the stage the time that it has in the store; the next run may remove it meanwhile."""
    with suppress(OSError):
        os.utime(path, ns=(stamp.mtime_ns, stamp.mtime_ns))


def _read_note(note: Path) -> dict[str, Stamp]:
    try:
        return {str(name): Stamp(int(size), int(time)) for name, (size, time) in json.loads(note.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
