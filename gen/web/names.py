"""Names of files that visitors send."""

import re
import unicodedata
from pathlib import Path

MAX_NAME = 180
"""Most bytes of a file name. Systems allow 255, and results append to it."""
DEVICES = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)")
"""Names that Windows keeps for devices, whatever their suffix."""


def safe_name(name: str) -> str:
    """A file name that every system can store: letters, digits, spaces and ._-+, others become "_".

    It does not start with a dot, is no longer than `MAX_NAME` bytes, of which the last are kept, and is no name of a
    device of Windows, where results may be unpacked.
    """
    kept = "".join(c if c.isalnum() or c in "._- +" else "_" for c in unicodedata.normalize("NFC", name))
    kept = kept.encode()[-MAX_NAME:].decode(errors="ignore").lstrip(". ").rstrip(". ")
    return f"_{kept}" if DEVICES.fullmatch(kept.partition(".")[0].strip()) else kept or "unnamed"


def utf8(name: str) -> str:
    """A file's name as zips and the page can carry it: a byte that is no UTF-8 becomes %E9 or the like.

    The files of the server's shared folder keep their names, and those may come from an old camera or zip.
    """
    return re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)


class Unused:
    """Finds file names that are free: uploads of equal names must not meet."""

    def __init__(self) -> None:
        self._last: dict[Path, int] = {}
        """The number that was given to a name last: looking at each again would take a time with the square."""
        self.renamed: dict[Path, Path] = {}
        """A name that was found -> the one that was wanted, and taken."""

    def __call__(self, path: Path) -> Path:
        """`path`, or the first of NAME-2, NAME-3, ... that does not exist."""
        unused = path
        while unused.exists():
            self._last[path] = self._last.get(path, 1) + 1
            unused = path.with_name(f"{path.stem}-{self._last[path]}{path.suffix}")
        if unused != path:
            self.renamed[unused] = path
        return unused

    def told(self, root: Path) -> list[str]:
        """A sentence for each file below `root` that was given another name."""
        found = sorted((new, old) for new, old in self.renamed.items() if new.exists())
        return [
            f"{new.relative_to(root).as_posix()} is another upload named {old.relative_to(root).as_posix()}"
            for new, old in found
        ]
