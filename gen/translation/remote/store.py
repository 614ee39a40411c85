"""A folder behind a URL, through fsspec: what is in it, and files that are fetched, put and removed."""

import os
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import fsspec
from fsspec.spec import AbstractFileSystem

from gen.disk import why_not_written
from gen.errors import BadInput, BadSetting, GenError, short
from gen.media.files import write_atomically
from gen.media.folders import Stamp
from gen.media.walk import HIDDEN
from gen.translation.remote.names import shown
from gen.translation.remote.stamps import stamp_in

ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss"}
"""Object stores, where a file that is put is there as a whole or not at all, and folders need not be made."""
REPLACING = {"file", "local", "memory", "sftp", "ssh", "ftp"}
"""Stores that move a file over another one. Elsewhere the old one is removed first."""
UPLOAD = ".gen-upload-"
"""How the names of files begin that are being written."""
PACKAGES = {"smbclient": "smbprotocol"}
"""Modules that the package to install is not called after."""
LINK = "a link to a folder, which is not followed behind a URL"


class Store:
    """A folder behind a URL. Paths inside it have "/" between their parts."""

    def __init__(self, fs: AbstractFileSystem, root: str, url: str) -> None:
        """`root`: the folder as `fs` names it; `url`: as messages name it."""
        self.fs, self.root, self.url = fs, root, url
        protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
        self._atomic = not ATOMIC.isdisjoint(protocols)
        self._replaces = not REPLACING.isdisjoint(protocols)
        self.files_alone = not {"http", "https"}.isdisjoint(protocols)
        """Whether the store knows no folders."""
        self.threads = 8 if fs.async_impl else 1
        """How many files may be moved at once: connections of other stores are for one thread."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises `BadSetting` if the URL cannot be opened; whether anything is there is not looked at."""
        name = shown(url)
        if not url.partition("://")[2].strip("/"):
            raise BadSetting(f"{name}: a bucket or folder is missing after ://.")
        if "::" in url:
            raise BadSetting(f"{name}: gen reads no URL inside another one, with ::; fetch or unpack it first.")
        try:
            fs, path = fsspec.core.url_to_fs(url)
        except ImportError as error:
            package = str(getattr(error.__cause__ or error, "name", None) or "").partition(".")[0]
            need = f"`pip install {PACKAGES.get(package, package)}`" if package else short(str(error))
            raise BadSetting(f"{name}: {url.partition('://')[0]}:// needs an optional package: {need}.") from error
        except ValueError as error:
            raise BadSetting(f"{name}: {short(str(error))}; s3, gs, az, sftp and file are usual ones.") from error
        except Exception as error:
            raise BadSetting(f"{name}: the store cannot be opened ({reason(error)}).") from error
        return cls(fs, str(path).rstrip("/"), name.rstrip("/"))

    def parent(self) -> tuple[Self, str]:
        """The folder that this file lies in, and its name there."""
        root, _, name = shown(self.root).rpartition("/")
        return type(self)(self.fs, root, self.url[: -len(name) - 1]), name

    def at(self, path: str) -> str:
        """A path inside the folder as the file system names it."""
        return f"{self.root}/{path}" if path else self.root

    def name(self, path: str) -> str:
        """The URL of a path inside the folder."""
        return f"{self.url}/{path}" if path else self.url

    def kind(self) -> str | None:
        """What is there: "file" or "directory"; None if nothing. Raises `BadSetting`."""
        with self._told("", BadSetting):
            found = self._info(self.root)
        return None if found is None else "directory" if found["type"] == "directory" else "file"

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of a file as it is now; None if there is none. Raises `BadInput`."""
        with self._told(path, BadInput):
            found = self._info(self.at(path))
        return None if found is None else stamp_in(found)

    def _info(self, path: str) -> Mapping[str, Any] | None:
        self.fs.invalidate_cache()
        try:
            return self.fs.info(path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def files(self, unread: dict[str, str], skip: str | None = None) -> dict[str, Stamp]:
        """The files in the folder and its sub-folders. `unread` receives folders that are not read, with the reason.

        `skip`: a folder that is left out, as the file system names it. Raises `BadSetting` if the folder itself cannot
        be read.
        """
        self.fs.invalidate_cache()
        found: dict[str, Stamp] = {}
        folders = deque([""])
        while folders:
            folder = folders.popleft()
            for path, info in self._entries(folder, unread):
                kind = info["type"]
                if kind != "directory" and kind != "file":  # a link, of which some stores say no more
                    kind = "link" if self.fs.isdir(self.at(path)) else "file"
                if self.at(path) == skip:
                    continue
                if kind == "file":
                    found[path] = stamp_in(info)
                elif kind == "directory" and not path.rpartition("/")[2].startswith("."):
                    folders.append(path)
                else:
                    unread[path] = LINK if kind == "link" else HIDDEN
        return found

    def _entries(self, folder: str, unread: dict[str, str]) -> list[tuple[str, Mapping[str, Any]]]:
        """The content of a folder: paths and what the store says of each."""
        try:
            infos = self.fs.ls(self.at(folder), detail=True)
        except Exception as error:
            if not folder:
                raise BadSetting(f"{self.url}: the folder cannot be read ({reason(error)}).") from error
            unread[folder] = f"the folder cannot be read ({reason(error)})"
            return []
        entries: list[tuple[str, Mapping[str, Any]]] = []
        for info in sorted(infos, key=_name):
            if _name(info).rstrip("/") == self.at(folder).rstrip("/"):  # what marks an empty folder
                continue
            name = _name(info).rstrip("/").rpartition("/")[2]
            path = f"{folder}/{name}" if folder else name
            if name in (".", "..") or "\0" in name:
                unread[path] = "a name that a file cannot have here"
            else:
                entries.append((path, info))
        return entries

    def get(self, path: str, local: Path, stamp: Stamp) -> None:
        """Fetch a file, which gets the stamp's time. Raises `BadInput`."""
        with self._told(path, BadInput), write_atomically(local) as partial:
            self.fs.get_file(self.at(path), str(partial))
            if stamp.size and partial.stat().st_size != stamp.size:
                raise BadInput(f"{self.name(path)}: the file changed while it was fetched; run the command again.")
            os.utime(partial, ns=(stamp.mtime_ns, stamp.mtime_ns))

    def put(self, local: Path, path: str) -> Stamp:
        """Write a file; one that is there stays whole until the new one is. Returns its stamp. Raises `BadInput`."""
        with self._told(path, BadInput):
            if self._atomic:
                self.fs.put_file(str(local), self.at(path))
            else:
                self._put_and_move(local, self.at(path))
            found, size = self.stamp(path), local.stat().st_size
            if found is None or found.size != size:
                there = "nothing" if found is None else f"{found.size} bytes"
                raise BadInput(f"{self.name(path)}: {size} bytes were written, but {there} came out.")
            return found

    def _put_and_move(self, local: Path, path: str) -> None:
        folder = path.rpartition("/")[0]
        if folder:
            self.fs.makedirs(folder, exist_ok=True)
        partial = f"{folder}/{UPLOAD}{uuid4().hex[:12]}.partial"
        try:
            self.fs.put_file(str(local), partial)
            if type(self.fs).mv is AbstractFileSystem.mv:  # it would take brackets in names for patterns
                self.fs.cp_file(partial, path)
                self.fs.rm_file(partial)
            else:
                if not self._replaces:
                    with suppress(FileNotFoundError):
                        self.fs.rm_file(path)
                self.fs.mv(partial, path)
        except BaseException:
            with suppress(Exception):
                self.fs.rm_file(partial)
            raise

    def remove(self, path: str) -> None:
        """Remove a file. Raises `BadInput`."""
        with self._told(path, BadInput), suppress(FileNotFoundError):
            self.fs.rm_file(self.at(path))

    def check_writable(self) -> None:
        """Raises `BadSetting` if nothing can be written: before the work is done, which may take hours."""
        path = self.at(f"{UPLOAD}{uuid4().hex[:12]}.partial")
        with self._told("", BadSetting):
            if not self._atomic:
                self.fs.makedirs(self.root, exist_ok=True)
            self.fs.pipe_file(path, b"gen")
            with suppress(Exception):  # who may write may not always remove
                self.fs.rm_file(path)

    @contextmanager
    def _told(self, path: str, kind: type[GenError]) -> Generator[None]:
        """Turn whatever a store raises into a sentence that names the URL."""
        try:
            yield
        except GenError:
            raise
        except Exception as error:
            raise kind(f"{self.name(path)}: {reason(error)}.") from error


def _name(info: Mapping[str, Any]) -> str:
    return str(info["name"])


def reason(error: Exception) -> str:
    """Why a store failed, as part of a sentence."""
    if isinstance(error, PermissionError):
        return "permission is denied"
    if isinstance(error, FileNotFoundError):
        return "there is no such bucket, folder or file"
    line = (str(error).splitlines() or [""])[0]
    return why_not_written(error) or (f"{type(error).__name__}: {short(line, 200)}" if line else type(error).__name__)
