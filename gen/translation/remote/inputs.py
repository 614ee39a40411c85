"""The input of a run behind a URL, and the folder of the stage that stands for it."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from gen.bars import progress_bar
from gen.errors import BadInput, BadSetting, GenError
from gen.media.folders import Stamp, stamp_of
from gen.translation.remote.placeholders import is_empty, write_placeholder
from gen.translation.remote.store import Store


class Inputs:
    """A folder behind a URL, or a file in it, of which the stage has placeholders until they are fetched."""

    def __init__(self, store: Store, folder: Path) -> None:
        """`store`: what the URL names; `folder`: of the stage. Raises `BadInput` if nothing is there."""
        kind = store.kind()
        if kind is None:
            raise BadInput(f"{store.url}: no such file or folder.")
        self.single = kind == "file"
        if store.files_alone and not Path(store.url).suffix:
            raise BadInput(f"{store.url}: over http, gen reads single files, not folders; name a picture or a clip.")
        self.folder = folder
        self.store, self.name = store.parent() if self.single else (store, "")
        self._source = store
        self.path = folder / self.name
        """What stands for the URL."""
        self.unread: dict[str, str] = {}
        """What gen does not get to see, by path inside the folder, with the reason; see `Report.left_out`."""
        self._failed: dict[Path, str] = {}

    def mirror(self, skip: str | None) -> None:
        """Make the folder of the stage show what is behind the URL now. Raises `GenError`.

        What has been fetched and not changed since stays. `skip`: the output folder, as the store names it.
        """
        self.folder.mkdir(exist_ok=True)
        found = {self.name: self._stamp()} if self.single else self.store.files(self.unread, skip)
        prune(self.folder, lambda name: name in found)
        for name, stamp in found.items():
            try:
                if stamp_of(self.folder / name) != stamp:
                    write_placeholder(self.folder / name, stamp)
            except OSError as error:
                self.unread[name] = f"it cannot be stored on this machine ({error.strerror})"

    def _stamp(self) -> Stamp:
        stamp = self._source.stamp("")
        if stamp is None:
            raise BadInput(f"{self._source.url}: no such file or folder.")
        return stamp

    def fetch(self, paths: Sequence[Path]) -> None:
        """Fetch the content of these files. Raises `BadSetting` if there is no room; one that fails fails alone."""
        missing = [path for path in paths if is_empty(path)]
        names = {path: "" if self.single else path.relative_to(self.folder).as_posix() for path in missing}
        self._failed = {path: str(error) for path, error in fetch(self._source, names).items()}

    def check_here(self, source: Path) -> None:
        """Raises `BadInput` if a file could not be fetched."""
        if source in self._failed:
            raise BadInput(self._failed[source])

    def release(self, path: Path) -> None:
        """Free the room of a file that is done with."""
        if (stamp := stamp_of(path)) is not None and not is_empty(path):
            write_placeholder(path, stamp)


def fetch(store: Store, names: dict[Path, str]) -> dict[Path, GenError]:
    """Fetch files by their names in the store, to where placeholders of them are; returns those that failed.

    Raises `BadSetting` if there is no room for them.
    """
    stamps = {path: stamp for path in names if (stamp := stamp_of(path)) is not None}
    if not stamps:
        return {}
    check_room(store, next(iter(stamps)).parent, sum(stamp.size for stamp in stamps.values()))
    failed: dict[Path, GenError] = {}
    pool = ThreadPoolExecutor(store.threads)
    try:
        waiting = {pool.submit(store.get, names[path], path, stamp): path for path, stamp in stamps.items()}
        with progress_bar(total=len(stamps), unit="file", desc="fetching", dynamic_ncols=True) as bar:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, GenError):
                    failed[waiting[future]] = error
                elif error is not None:
                    raise error
                bar.update()
    finally:
        pool.shutdown(cancel_futures=True)
    return failed


def check_room(store: Store, folder: Path, size: int) -> None:
    """Raises `BadSetting` if the disk of the stage has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise BadSetting(
            f"{store.url}: {size / 1e6:,.1f} MB must be fetched, but {free / 1e6:,.1f} MB are free on the disk of the "
            "cache; free some space, or set $XDG_CACHE_HOME to a folder on another disk."
        )


def below(folder: Path) -> dict[str, Path]:
    """The files in a folder of the stage and its sub-folders, by path inside it."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if not path.is_dir()}


def prune(folder: Path, keep: Callable[[str], bool]) -> None:
    """Remove the other files of a folder of the stage, by path inside it, and sub-folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside a folder comes before the folder
        if path.is_dir():
            with suppress(OSError):
                path.rmdir()
        elif not keep(path.relative_to(folder).as_posix()):
            path.unlink()
