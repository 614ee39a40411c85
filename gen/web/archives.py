"""Unpack zips of visitors: only images and clips, and nothing outside the folder."""

import errno
import io
import os
import re
import shutil
import stat
import time
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from gen.errors import BadInput, short
from gen.media.walk import HIDDEN
from gen.web.limits import check_file
from gen.web.names import Unused, safe_name
from gen.web.settings import WebSettings

MAX_RATIO = 200
"""Most times that the files of a zip may be larger than the zip. Real images hardly shrink in one."""
MAX_DIRECTORY = 4_000_000
"""Most bytes of a zip's list of contents; 5000 files of long names take two million."""
MAX_DEPTH = 12
"""Most folders that lie in each other in a zip, the file included: paths must stay below 4096 bytes."""
ENCRYPTED = 1
"""The bit of a zip entry's flags."""
FULL = (errno.ENOSPC, errno.EDQUOT)


class BrokenZip(BadInput):
    """Of no use itself, but no reason to refuse what was uploaded beside it."""


def unpack(
    archive: Path, into: Path, settings: WebSettings, clips: bool = True, unused: Unused | None = None
) -> tuple[list[Path], list[str]]:
    """Unpack the images and clips of a zip below `into`, checking each. Names are made safe; see `safe_name`.

    `unused`: finds and remembers the names of files whose own are taken.

    Raises `BrokenZip`, and `BadInput` for one that holds too much, or that has names which lead out of it.
    """
    taken: list[Path] = []
    refused: list[str] = []
    unused = unused or Unused()
    try:
        with _Bounded(archive) as file, zipfile.ZipFile(file) as opened:
            entries = [e for e in opened.infolist() if PurePosixPath(e.filename.strip("/")).parts]
            check_entries(archive, entries, settings)
            for entry in (e for e in entries if not e.filename.endswith("/") and not _is_added(e.filename)):
                try:
                    if any(part.startswith(".") for part in PurePosixPath(entry.filename).parts):
                        raise BadInput(f"{_shown(entry)}: {HIDDEN}.")
                    taken.append(_unpack_entry(opened, entry, into, unused, settings, clips))
                except BadInput as error:
                    refused.append(f"{archive.name}: {error}")
    except BadInput:
        raise
    except Exception as error:  # zipfile and its decoders raise a dozen kinds
        raise BrokenZip(f"{archive.name}: this zip cannot be unpacked ({_reason(error)}).") from error
    if not taken and not refused:
        raise BrokenZip(f"{archive.name}: the zip holds no files.")
    return taken, refused


def names_in(archive: Path) -> list[str]:
    """The names in a zip that are relative paths, without looking at the files; none of one that cannot be read."""
    try:
        with _Bounded(archive) as file, zipfile.ZipFile(file) as opened:
            return [name for name in opened.namelist() if not name.startswith("/") and not _is_added(name)]
    except Exception:  # whoever unpacks it says what is wrong
        return []


def _unpack_entry(
    opened: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path, unused: Unused, settings: WebSettings, clips: bool
) -> Path:
    """Unpack one file of a zip, and return where it is. Raises `BadInput`, and leaves nothing then."""
    parts = [safe_name(part) for part in PurePosixPath(entry.filename).parts]
    target = unused(into.joinpath(*parts))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(entry) as packed, target.open("xb") as file:
            shutil.copyfileobj(packed, file)  # zipfile stops at the size that `check_entries` checked
        with suppress(ValueError, OverflowError):  # a month 13
            at = time.mktime((*entry.date_time, 0, 0, -1))  # translations keep it
            os.utime(target, (at, at))
        return check_file(target, _shown(entry), settings, clips)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{_shown(entry)}: the zip has a file of the name of this file's folder.") from None
    except Exception as error:
        target.unlink(missing_ok=True)
        if isinstance(error, BadInput) or (isinstance(error, OSError) and error.errno in FULL):
            raise
        raise BadInput(f"{_shown(entry)}: damaged in the zip ({_reason(error)}).") from error


def _reason(error: Exception) -> str:
    """What went wrong, without the path that an OSError carries."""
    text = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return short(text, 200)  # zipfile quotes bytes of the file


def _shown(entry: zipfile.ZipInfo) -> str:
    """The name of an entry, as messages show it; a zip may hold names of 65,535 characters."""
    return short(entry.filename, 200)


class _Bounded(io.FileIO):
    """A file that refuses to be read in one piece, so that a zip's list of contents cannot fill the memory."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As `FileIO.read`. Raises `BadInput` for more than `MAX_DIRECTORY` bytes."""
        wanted = os.fstat(self.fileno()).st_size - self.tell() if size is None or size < 0 else size
        if wanted > MAX_DIRECTORY:
            raise BadInput(f"{Path(str(self.name)).name}: the zip's list of contents is too long.")
        return super().read(size)


def check_entries(archive: Path, entries: list[zipfile.ZipInfo], settings: WebSettings) -> None:
    """Raises `BadInput` for too many or too large files, zip bombs, links, and names that lead out of the zip."""
    name, total = archive.name, sum(e.file_size for e in entries)
    if len(entries) > settings.files:
        raise BadInput(f"{name}: {len(entries)} files in the zip; at most {settings.files} are allowed.")
    if total > settings.unpacked_mb * 1e6:
        raise BadInput(f"{name}: larger than {settings.unpacked_mb} MB when unpacked.")
    # Of the whole zip: what an entry says of its packed size may be a lie, and entries may share one packed file.
    if total > MAX_RATIO * max(10_000, archive.stat().st_size):
        raise BadInput(f"{name}: unpacks to over {MAX_RATIO} times its size (zip bomb).")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.fullmatch("[A-Za-z]:", "".join(path.parts[:1])):
            raise BadInput(f"{name}: the path {_shown(entry)!r} leads out of the zip; the zip was rejected.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BadInput(f"{name}: {_shown(entry)!r} is a symbolic link; the zip was rejected.")
        if entry.flag_bits & ENCRYPTED:
            raise BadInput(f"{name}: the zip is encrypted; upload one without a password.")
        if len(path.parts) > MAX_DEPTH:
            raise BadInput(f"{name}: its folders are nested more than {MAX_DEPTH} deep; the zip was rejected.")


def _is_added(name: str) -> bool:
    """Whether an operating system added it, such as .DS_Store or __MACOSX."""
    return any(part.startswith(("._", ".DS_Store", "__MACOSX")) for part in PurePosixPath(name).parts)
