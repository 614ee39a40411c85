"""Tell why a write failed (full disk, quota, size limit, read-only file system), or why a path cannot be opened."""

import errno
import os
import re

from gen.errors import short

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would be larger than allowed (ulimit -f, or the limit of the file system)",
    errno.EROFS: "the file system is read-only",
}
"""Error number of a failed write -> the reason, as part of a sentence."""


def why_not_written(error: BaseException) -> str | None:
    """Why a write failed, if that is what caused `error`; otherwise None.

    Looks through the causes of the error: torch raises a RuntimeError while it handles the OSError of a full disk, and
    safetensors gives the number only in its text.
    """
    cause: BaseException | None = error
    while cause is not None:
        if (number := _number(cause)) in REASONS:
            return REASONS[number]
        cause = cause.__cause__ or cause.__context__
    return None


CLOSED = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ELOOP: "its links lead in a circle",
}
"""Error number of a path that cannot be opened -> the reason, as part of a sentence."""


def why_not_opened(error: BaseException) -> str | None:
    """The path that the operating system refused, and why, if that is what `error` says; otherwise None."""
    if isinstance(error, OSError) and error.filename is not None and error.errno in CLOSED:
        return f"{short(os.fsdecode(error.filename))}: {CLOSED[error.errno]}"
    return None


def _number(error: BaseException) -> int:
    """The operating system's number for the error; 0 if it has none."""
    if isinstance(error, OSError):
        return error.errno or 0
    # Rust's text. Checked by name, because importing safetensors here would slow every command down.
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return int(found[1]) if found else 0
