"""When a file behind a URL was written, by what its store says of it."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gen.media.folders import Stamp

TIMES = ("mtime", "LastModified", "last_modified", "last_write_time", "updated", "modified", "modify", "created")
"""What stores call the time at which a file was written: seconds since 1970, or text."""
MILLISECONDS = "modificationTime"
"""The same in WebHDFS."""
FTP = "%Y%m%d%H%M%S"
TAGS = ("CRC", "ETag", "etag", "md5Hash", "md5", "content_md5", "checksum", "crc32c", "generation")
"""What stores without times call something that changes with the content."""


def stamp_in(info: Mapping[str, Any]) -> Stamp:
    """The stamp of a file by what a store says of it.

    Without a time, the first seconds of 1970 stand for it, and change with the tag of the content, if there is one.
    """
    size = int(info.get("size") or 0)
    for key in TIMES:
        if (time := _nanoseconds(info.get(key))) is not None:
            return Stamp(size, time)
    if (time := _nanoseconds(info.get(MILLISECONDS))) is not None:
        return Stamp(size, time // 1000)
    tag = next((str(info[key]) for key in TAGS if info.get(key)), "")
    return Stamp(size, int(hashlib.sha256(tag.encode()).hexdigest()[:8], 16) if tag else 0)


def _nanoseconds(time: object) -> int | None:
    if isinstance(time, str):
        try:
            time = datetime.strptime(time[:14], FTP) if time[:14].isdigit() else datetime.fromisoformat(time)
        except ValueError:
            return None
    if isinstance(time, datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    return round(time * 1e9) if isinstance(time, int | float) and not isinstance(time, bool) else None
