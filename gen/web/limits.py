"""What is let in: every file of a visitor passes here before anything decodes it."""

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
RATIO = 200
"""How many times larger than packed a file in a zip may be."""


def check_still(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """The path, if its header is that of a picture of allowed kind and size. Raises `BadInput`."""
    name = name or path.name
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInput(f"{name}: more than {settings.megapixels:g} megapixels; make it smaller.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInput(f"{name}: this is not a picture that can be read; JPEG, PNG, WebP, BMP or TIFF.") from error
    if width * height > settings.pixels:
        raise BadInput(f"{name}: {width}x{height} pixels; {settings.megapixels:g} megapixels are allowed.")
    return path


def check_clip(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """The path, if its container holds a picture track of allowed length and size. Raises `BadInput`."""
    name = name or path.name
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise BadInput(f"{name}: there is no picture track in it.")
            track = container.streams.video[0]
            width, height = track.codec_context.width, track.codec_context.height
            seconds = float(container.duration or 0) / av.time_base
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: this is not a clip that can be read; MP4, MOV or MKV.") from error
    if seconds > settings.clip_seconds:
        raise BadInput(f"{name}: {seconds:.0f} s long; {settings.clip_seconds:g} s are allowed.")
    if width * height > settings.pixels:
        raise BadInput(f"{name}: {width}x{height} pixels; {settings.megapixels:g} megapixels are allowed.")
    return path


def gather(files: Iterable[str], into: Path, settings: WebSettings, clips: bool = True) -> tuple[list[Path], list[str]]:
    """Copy uploads into a new folder, zips unpacked; what is refused is told, and the rest goes on.

    Raises `BadInput` if nothing is left, or if there is too much.
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
            found, reasons = unpack(file, _free(into / plain(file.stem)), left, clips)
            taken, refused = taken + found, refused + reasons
        else:
            _take(file, _free(into / plain(file.name)), file.name, settings, clips, taken, refused)
        if len(taken) > settings.files:
            raise BadInput(f"{len(taken)} files; {settings.files} are allowed at once.")
    if not taken:
        raise BadInput(refused[0] if refused else "No file was given; choose pictures, clips or a zip of them.")
    return taken, refused


def _take(
    source: Path, target: Path, name: str, settings: WebSettings, clips: bool, taken: list[Path], refused: list[str]
) -> None:
    suffix = target.suffix.lower()
    try:
        if suffix in STILL_SUFFIXES:
            check_still(source, settings, name)
        elif clips and suffix in VIDEO_SUFFIXES:
            check_clip(source, settings, name)
        else:
            kinds = "pictures, clips and zips" if clips else "pictures and zips of them"
            raise BadInput(f"{name}: this kind of file is not taken; {kinds} are.")
    except BadInput as error:
        refused.append(str(error))
        return
    if source != target:
        shutil.copyfile(source, target)
    taken.append(target)


def unpack(archive: Path, into: Path, settings: WebSettings, clips: bool = True) -> tuple[list[Path], list[str]]:
    """Unpack the pictures and clips of a zip, by our own names below `into`, checked one by one.

    Raises `BadInput` for what is no zip, holds too much, or has names that lead out of it.
    """
    taken: list[Path] = []
    refused: list[str] = []
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [e for e in opened.infolist() if not e.is_dir()]
            check_entries(archive.name, entries, settings)
            for entry in (e for e in entries if not _of_the_system(e.filename)):
                parts = [plain(part) for part in PurePosixPath(entry.filename).parts]
                target = _free(into.joinpath(*parts))
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file)  # no more than the size that was checked: zipfile sees to that
                before = len(taken)
                _take(target, target, f"{archive.name}: {entry.filename}", settings, clips, taken, refused)
                if len(taken) == before:
                    target.unlink()
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise BadInput(f"{archive.name}: this zip cannot be unpacked ({error}).") from error
    return taken, refused


def check_entries(name: str, entries: list[zipfile.ZipInfo], settings: WebSettings) -> None:
    """Raises `BadInput` for too many, too large, too tightly packed, or names that lead elsewhere."""
    if len(entries) > settings.files:
        raise BadInput(f"{name}: {len(entries)} files in the zip; {settings.files} are allowed.")
    if sum(e.file_size for e in entries) > settings.unpacked_mb * 1e6:
        raise BadInput(f"{name}: more than {settings.unpacked_mb} MB unpacked.")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or (len(path.parts[0]) == 2 and path.parts[0][1] == ":"):
            raise BadInput(f"{name}: {entry.filename!r} leads out of the zip; nothing of it was unpacked.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise BadInput(f"{name}: {entry.filename!r} is a link; nothing of the zip was unpacked.")
        if entry.file_size > 1_000_000 and entry.file_size > RATIO * max(1, entry.compress_size):
            raise BadInput(f"{name}: {entry.filename!r} unpacks to {RATIO} times its size; it looks like a bomb.")


def _of_the_system(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def plain(name: str) -> str:
    """A file name of letters, digits and . _ - alone, which does not begin with a dot."""
    kept = "".join(c if c.isalnum() or c in "._- +" else "_" for c in name)[-120:].lstrip(". ")
    return kept or "unnamed"


def _free(path: Path) -> Path:
    number, free = 2, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return free


def inside(root: Path | None, text: str) -> Path:
    """The folder that a visitor named, if it lies in `root`, links followed. Raises `BadInput` for all else."""
    if root is None:
        raise BadInput("Folders on the server are not open to visitors; upload files instead.")
    base = root.resolve()
    path = (base / text.strip().lstrip("/")).resolve()
    if not path.is_relative_to(base) or not path.is_dir():
        raise BadInput(f"{text}: there is no such folder below the one that is open to visitors.")
    return path
