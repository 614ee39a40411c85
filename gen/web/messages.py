"""Messages for visitors: they may read the names of files, but not where the server keeps them."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gen.web.names import utf8

ELSEWHERE = re.compile(r"(?<![\w.:/~])(?:/[^\s/:'\"()\[\],;]+)*/([^\s/:'\"()\[\],;]+)")
"""An absolute path without spaces; the group is its last part. Not the path of a URL."""


class Messages:
    """Removes paths of the server from texts."""

    def __init__(self, results: Path, root: Path | None = None) -> None:
        """`results`, `root`: as in `WebSettings`."""
        inside = r"(?:jobs/(?:\w{16,40}/)?(?:input/|output/|run/)?|uploads/(?:\w{16,}/)?)?"
        self._results = re.compile(rf"{re.escape(str(results.resolve()))}(?:/{inside}|(?![\w/]))")
        known = {root, root and root.resolve(), Path.cwd(), Path(tempfile.gettempdir()), Path.home()}
        named = (str(folder) for folder in known if folder is not None and len(folder.parts) > 1)
        # The longest first: one folder may lie in another.
        self._folders = sorted((f"{folder}/" for folder in named if folder.startswith("/")), key=len, reverse=True)

    def plain(self, text: str) -> str:
        """`text` with paths shortened: those in a known folder begin there, of others only the last part is left."""
        text = hide_folders(self._results.sub("", text), self._folders)
        return ELSEWHERE.sub(r"\1", text)


def hide_folders(text: str, folders: Sequence[str | Path]) -> str:
    """`text` without these folders' paths, as UTF-8 can carry it: see `utf8`."""
    for folder in folders:
        text = text.replace(f"{str(folder).rstrip('/')}/", "")
    return utf8(text)
