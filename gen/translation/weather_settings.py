"""Settings of `gen train-weather`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclasses.dataclass(frozen=True)
class WeatherSettings:
    """Train a small classifier of the weather in dash-cam frames, for gen translate --model auto."""

    out: tyro.conf.Positional[Path]
    """Model folder, for example weights/weather; a notes.md in it goes into the card."""
    train: Repeated
    """WEATHER=FOLDER of frames to learn from, as in --train night=driving/train/night; may be given many times."""
    cross: Repeated = ()
    """The same for folders of few drives: groups of frames that look alike are held out in turn to measure by."""
    test: Repeated = ()
    """WEATHER=FOLDER of frames to measure by alone; of a weather that is not learnt it says what it is taken for."""
    labels: Path | None = None
    """CSV with the columns file (from its own folder on) and weather: what was seen in single frames of a day folder
    (clear, or a weather that is learnt; frames with other words are left out, and so is twilight in any folder)."""
    decay: float = 0.03
    """Weight of the squared weights in the loss."""
