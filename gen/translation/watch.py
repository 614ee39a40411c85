"""What whoever follows a run from outside is told, and what he may ask of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gen.media.images import Pixels
from gen.media.video import UNLIMITED, ClipLimits
from gen.translation.report import Entry


class Progress(NamedTuple):
    """How far a run is."""

    files: int
    """Files that are finished, whether they succeeded or not."""
    of_files: int
    frames: int = 0
    """Frames of the current clip that are finished."""
    of_frames: int = 0
    """Frames of the current clip, as far as its container says."""
    latest: Entry | None = None
    """The file that was finished just now."""
    frame: tuple[Pixels, Pixels] | None = None
    """The latest frame of the current clip and its translation."""


@dataclass(frozen=True)
class Watch:
    """Callbacks for whoever follows a run from outside, as the web page does."""

    tell: Callable[[Progress], None] = lambda progress: None
    """Called from the run's own thread after every file, and after every batch of a clip's frames."""
    stop: Callable[[], bool] = lambda: False
    """Asked before every batch. If it returns True, the run ends as by Ctrl-C and keeps what is finished."""
    limits: ClipLimits = UNLIMITED
    """What a clip may hold at most; a clip that holds more fails."""
    named: Callable[[str], str] = lambda text: text
    """Gives the text of a message other names for files."""
    removed: Callable[[Path], None] = lambda path: None
    """Called for each file of an earlier translation that the run has removed."""
    check_here: Callable[[Path], None] = lambda source: None
    """Called before an input is read. Raises `BadInput` if it could not be brought to this machine."""
