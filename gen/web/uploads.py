"""Take over what visitors upload: copy it to the folder of a job, and unpack zips."""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from gen.errors import BadInput
from gen.web.archives import BrokenZip, unpack
from gen.web.limits import check_file
from gen.web.names import Unused, safe_name
from gen.web.settings import WebSettings

SLASH = "\N{DIVISION SLASH}"


def gather(
    files: Iterable[str], into: Path, settings: WebSettings, clips: bool = True, unused: Unused | None = None
) -> tuple[list[Path], list[str]]:
    """Copy uploads to the new folder `into` and unpack zips. Returns the accepted files and a reason for each rejected.

    `unused`: finds names for uploads of equal names, and remembers which it has renamed.

    Raises `BadInput` if no file is accepted, or if there are too many; `into` is then removed.
    """
    try:
        return _gather(files, into, settings, clips, unused or Unused())
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def _gather(
    files: Iterable[str], into: Path, settings: WebSettings, clips: bool, unused: Unused
) -> tuple[list[Path], list[str]]:
    into.mkdir(parents=True)
    taken: list[Path] = []
    refused: list[str] = []
    for file in map(Path, files):
        left = replace(
            settings, files=settings.files - len(taken), unpacked_mb=settings.unpacked_mb - _megabytes(taken)
        )
        if file.suffix.lower() == ".zip":
            found, reasons = _unpacked(file, unused(into / safe_name(file.stem)), left, clips, unused)
            taken, refused = taken + found, refused + reasons
        else:
            try:
                check_file(file, file.name, settings, clips)
                if file.stat().st_size > left.unpacked_mb * 1_000_000:
                    raise BadInput(f"{file.name}: the files are larger than {settings.unpacked_mb} MB together.")
                target = unused(into / _path_in(file.name))
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                except (FileExistsError, NotADirectoryError):
                    raise BadInput(f"{file.name}: its folder has the name of another file.") from None
                shutil.copyfile(file, target)
                taken.append(target)
            except BadInput as error:
                refused.append(str(error))
        if len(taken) > settings.files:
            raise BadInput(f"{len(taken)} files; at most {settings.files} are allowed at once.")
    if not taken:
        raise BadInput(refused[0] if refused else "Choose images, clips or a zip of them first.")
    return taken, refused


def _unpacked(
    file: Path, into: Path, settings: WebSettings, clips: bool, unused: Unused
) -> tuple[list[Path], list[str]]:
    """See `unpack`. Of a broken zip nothing is left but the reason."""
    try:
        return unpack(file, into, settings, clips, unused)
    except BrokenZip as error:
        shutil.rmtree(into, ignore_errors=True)
        return [], [str(error)]


def lift_only_folder(path: Path) -> None:
    """Replace a folder that holds one folder and nothing else by that one: its name is a zip's, not a class's.

    Also the folder of folders that was zipped: else the domain would be called as that, not as the visitor says.
    """
    inner = list(path.iterdir())
    if len(inner) == 1 and inner[0].is_dir():
        lifted = inner[0].rename(path.with_name(f"{path.name}~"))  # no other domain is called so: see safe_name
        path.rmdir()
        lifted.rename(path)
        if any(child.is_dir() for child in path.glob("*/*")):
            lift_only_folder(path)


def _path_in(name: str) -> Path:
    """Where a file of a folder that was uploaded lies in it: gen/web/static/page.js puts the path into the name."""
    return Path(*(safe_name(part) for part in name.split(SLASH)))


def _megabytes(files: Iterable[Path]) -> int:
    return sum(file.stat().st_size for file in files) // 1_000_000
