"""Images that cannot be used are left out by name, so that one of them does not end a long run."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gen.errors import BadInput

T = TypeVar("T")

MAX_LISTED = 20
"""Images listed by name in a message; the others are only counted."""

log = logging.getLogger(__name__)


class LeftOut(dict[Path, str]):
    """Unusable images, each with the reason: a sentence that names the file."""

    def read(self, path: Path, reader: Callable[[Path], T]) -> T | None:
        """`reader(path)`; None, with a warning the first time, for an image that it refuses with `BadInput`."""
        if path in self:
            return None
        try:
            return reader(path)
        except BadInput as error:
            self[path] = str(error)
            log.warning("left out: %s", error)
            return None

    def check(self, folder: Path, count: int, strict: bool = False) -> None:
        """Raises `BadInput` if all of the folder's `count` images are unusable, or with `strict` if any is."""
        if not self:
            return
        if len(self) == count:
            raise BadInput(f"{folder}: none of its {count} images can be used:{self.listed()}")
        if strict:
            raise BadInput(
                f"{folder}: {len(self)} of {count} images cannot be used; repair or remove them, or set strict=false "
                f"to leave them out:{self.listed()}"
            )

    def report(self, folder: Path, count: int, strict: bool = False) -> None:
        """`check`, then one warning that names the unusable images."""
        self.check(folder, count, strict)
        if self:
            log.warning(f"{folder}: {len(self)} of {count} images cannot be used and are left out:{self.listed()}")

    def listed(self) -> str:
        """The first `MAX_LISTED` reasons, one line each, and the number of the others."""
        named = "".join(f"\n  {why}" for why in list(self.values())[:MAX_LISTED])
        return named + (f"\n  and {len(self) - MAX_LISTED} more" if len(self) > MAX_LISTED else "")
