"""Limits on uploads. Every file from a visitor is checked here before anything decodes it."""

import shutil
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import av
from PIL import Image

from gen.errors import BadInput
from gen.media.images import STILL_SUFFIXES
from gen.media.video import VIDEO_SUFFIXES
from gen.web.settings import WebSettings

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Pillow formats that are opened. Others are not even tried: some, such as EPS, run programs."""
MAX_RATIO = 200
"""Most times that a file in a zip may be larger than its packed size. Real images hardly shrink in a zip."""


def check_still(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """Return the path if its header is that of an allowed image. Raises `BadInput`. `name`: what errors call it."""
    name = name or path.name
    try:
        with Image.open(path, formats=FORMATS) as image:  # reads the header only; pixels are decoded on access
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInput(f"{name}: larger than {settings.megapixels:g} megapixels; reduce its size.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{name}: not a readable image; use JPEG, PNG, WebP, BMP or TIFF.") from error
    if width * height > settings.pixels:
        raise BadInput(_too_large(name, width, height, settings))
    return path


def check_clip(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """Return the path if its container holds a video track of allowed length and size. Raises `BadInput`."""
    name = name or path.name
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadInput(f"{name}: contains no video track.")
            track = container.streams.video[0]
            width, height = track.codec_context.width, track.codec_context.height
            seconds = float(container.duration or 0) / av.time_base
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: not a readable clip; use MP4, MOV or MKV.") from error
    if seconds > settings.clip_seconds:
        raise BadInput(f"{name}: {seconds:.0f} s long; at most {settings.clip_seconds:g} s are allowed.")
    if width * height > settings.pixels:
        raise BadInput(_too_large(name, width, height, settings))
    return path


def _too_large(name: str, width: int, height: int, settings: WebSettings) -> str:
    return f"{name}: {width}x{height} pixels; at most {settings.megapixels:g} megapixels are allowed."


def gather(files: Iterable[str], into: Path, settings: WebSettings, clips: bool = True) -> tuple[list[Path], list[str]]:
    """Copy uploads to the new folder `into` and unpack zips. Returns the accepted files and a reason for each rejected.

    Raises `BadInput` if no file is accepted, or if there are too many; `into` is then removed.
    """
    try:
        return _gather(files, into, settings, clips)
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _gather(files: Iterable[str], into: Path, settings: WebSettings, clips: bool) -> tuple[list[Path], list[str]]:
    into.mkdir(parents=True)
    taken: list[Path] = []
    refused: list[str] = []
    for file in map(Path, files):
        if file.suffix.lower() == ".zip":
            used = sum(f.stat().st_size for f in taken) // 1_000_000
            left = replace(settings, files=settings.files - len(taken), unpacked_mb=settings.unpacked_mb - used)
            found, reasons = unpack(file, _unused(into / safe_name(file.stem)), left, clips)
            taken, refused = taken + found, refused + reasons
        else:
            target = _unused(into / safe_name(file.name))
            try:
                _check(file, file.name, settings, clips)
                shutil.copyfile(file, target)
                taken.append(target)
            except BadInput as error:
                refused.append(str(error))
        if len(taken) > settings.files:
            raise BadInput(f"{len(taken)} files; at most {settings.files} are allowed at once.")
    if not taken:
        raise BadInput(refused[0] if refused else "Choose images, clips or a zip of them first.")
    return taken, refused


def _check(file: Path, name: str, settings: WebSettings, clips: bool) -> None:
    """Raises `BadInput` for a file that is no allowed image or, with `clips`, clip."""
    suffix = file.suffix.lower()
    if suffix in STILL_SUFFIXES:
        check_still(file, settings, name)
    elif clips and suffix in VIDEO_SUFFIXES:
        check_clip(file, settings, name)
    else:
        kinds = "images, clips or zips" if clips else "images or zips of images"
        raise BadInput(f"{name}: unsupported file type; use {kinds}.")


def unpack(archive: Path, into: Path, settings: WebSettings, clips: bool = True) -> tuple[list[Path], list[str]]:
    """Unpack the images and clips of a zip below `into`, checking each. Names are made safe; see `safe_name`.

    Raises `BadInput` for a broken zip, one that holds too much, or one with names that lead out of it.
    """
    taken: list[Path] = []
    refused: list[str] = []
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [e for e in opened.infolist() if not e.is_dir()]
            check_entries(archive.name, entries, settings)
            for entry in (e for e in entries if not _is_hidden(e.filename)):
                parts = [safe_name(part) for part in PurePosixPath(entry.filename).parts]
                target = _unused(into.joinpath(*parts))
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)  # zipfile stops at the size that `check_entries` checked
                try:
                    _check(target, f"{archive.name}: {entry.filename}", settings, clips)
                    taken.append(target)
                except BadInput as error:
                    refused.append(str(error))
                    target.unlink()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadInput(f"{archive.name}: this zip cannot be unpacked ({error}).") from error
    return taken, refused


def check_entries(name: str, entries: list[zipfile.ZipInfo], settings: WebSettings) -> None:
    """Raises `BadInput` for too many or too large files, zip bombs, links, and names that lead out of the zip."""
    if len(entries) > settings.files:
        raise BadInput(f"{name}: {len(entries)} files in the zip; at most {settings.files} are allowed.")
    if sum(e.file_size for e in entries) > settings.unpacked_mb * 1e6:
        raise BadInput(f"{name}: larger than {settings.unpacked_mb} MB when unpacked.")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (len(path.parts[0]) == 2 and path.parts[0][1] == ":"):
            raise BadInput(f"{name}: the path {entry.filename!r} leads out of the zip; the zip was rejected.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BadInput(f"{name}: {entry.filename!r} is a symbolic link; the zip was rejected.")
        if entry.file_size > 1_000_000 and entry.file_size > MAX_RATIO * max(1, entry.compress_size):
            raise BadInput(f"{name}: {entry.filename!r} unpacks to over {MAX_RATIO} times its size (zip bomb).")


def _is_hidden(name: str) -> bool:
    """Whether an operating system added it, such as .DS_Store or __MACOSX."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def safe_name(name: str) -> str:
    """A file name of letters, digits, spaces and ._-+ that does not start with a dot; others become "_"."""
    kept = "".join(c if c.isalnum() or c in "._- +" else "_" for c in name)[-120:].lstrip(". ")
    return kept or "unnamed"


def _unused(path: Path) -> Path:
    """`path`, or the first of NAME-2, NAME-3, ... that does not exist: uploads of equal names must not meet."""
    number, unused = 2, path
    while unused.exists():
        unused, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return unused


def inside(root: Path | None, text: str) -> Path:
    """The folder that a visitor named, if it is below `root`. Raises `BadInput` otherwise."""
    if root is None:
        raise BadInput("This server shares no folders; upload files instead.")
    base = root.resolve()  # resolved, as the path is below: a link in `root` must not lead out of it
    path = (base / text.strip().lstrip("/")).resolve()
    if not path.is_relative_to(base) or not path.is_dir():
        raise BadInput(f"{text}: no such folder on this server.")
    return path
