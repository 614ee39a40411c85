"""How long a translation will take, before it starts, by the speed of this server's last run of its kind."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gen.errors import GenError
from gen.media.folders import Kind
from gen.media.images import STILL_SUFFIXES
from gen.media.video import VIDEO_SUFFIXES, ClipReader
from gen.web.duration import duration
from gen.web.limits import check_clip
from gen.web.settings import WebSettings


class Pace:
    """Seconds a frame takes, by model, size and kind of file (still or clip), as in the latest run."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str, Kind], float] = {}

    def note(self, model: str, size: str, kind: Kind, frames: int, seconds: float) -> None:
        """Remember how long so many frames took."""
        if frames > 0:
            self._seconds[model, size, kind] = seconds / frames

    def forecast(self, model: str, size: str, kind: Kind, frames: int) -> str:
        """How many frames there are and how long they will take, in words; "" for none."""
        if not frames:
            return ""
        count = f"{frames} frame{'s' * (frames > 1)}"
        seconds = self._seconds.get((model, size, kind))
        if seconds is None:
            return f"{count}. The time left is shown once some of them are done."
        return f"{count}, about {duration(max(1, frames * seconds))} at the speed of the last run."


def kind_of(files: Iterable[str]) -> Kind:
    """Clip if there is a clip, because its frames take longer."""
    return "clip" if any(Path(file).suffix.lower() in VIDEO_SUFFIXES for file in files) else "still"


def count_frames(files: Iterable[str], settings: WebSettings) -> int:
    """Pictures, and frames of clips as far as their headers say. Zips and what cannot be read count as none."""
    return sum(_frames(Path(file), settings) for file in files)


def _frames(file: Path, settings: WebSettings) -> int:
    suffix = file.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        with suppress(GenError, OSError), ClipReader(check_clip(file, settings)) as reader:
            return reader.expected_frames
    return int(suffix in STILL_SUFFIXES)
