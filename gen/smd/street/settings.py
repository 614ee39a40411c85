"""Settings of `gen render-street`. No heavy imports: command-line help and usage errors need only this module."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gen.device_names import Device
from gen.errors import BadSetting
from gen.sizes import parse_size
from gen.smd.writing import check_seed

WeatherName = Literal["day", "dusk", "night", "rain", "rainy_night", "fog", "snow"]
FRAME_RATE = 30
"""Frames a second of a clip."""
LEAST = 10
"""Pixels of a side."""


@dataclasses.dataclass(frozen=True)
class StreetSettings:
    """Render dash-cam frames or clips of synthetic streets, each in adverse weather and on the same clear day."""

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Output folder: day/, adverse/WEATHER/, depth/ (16-bit PNG, centimetres, 0 = sky) and labels/ (PNG)."""
    weather: tuple[WeatherName, ...] = ("rainy_night",)
    """Weathers to render each frame in, in addition to the day."""
    frames: int = 100
    """Number of frames. Each shows a different street, unless --clip is given."""
    clip: bool = False
    """Render one street as a video: a drive along it, 30 frames a second."""
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "640x360"
    """Size of the frames in pixels, width first: for example 1280x720."""
    seed: int = 0
    """Seed of the first street; the others use the numbers after it, so near seeds share streets. Files are named after
    these numbers."""
    samples: int = 2
    """Rays per pixel along each axis; 2 means four rays. More is smoother and slower."""
    depth: bool = True
    """Write depth and labels too."""
    preview: bool = False
    """Only write OUT/preview.jpg: the first street in every weather, and its depth."""
    workers: int | None = None
    """Number of processes. Default: one per core."""
    device: Device = "cpu"
    """Device that renders."""

    def check(self) -> None:
        """Raises `BadSetting` for values out of range."""
        width, height = parse_size(self.size)
        if min(width, height) < LEAST:
            raise BadSetting(f"size must be at least {LEAST}x{LEAST}, not {self.size}.")
        if self.frames < 1 or self.samples < 1:
            raise BadSetting(f"frames and samples must be at least 1, not {self.frames} and {self.samples}.")
        check_seed(self.seed)
        if self.clip and (width % 2 or height % 2):  # H.264 stores colour at half the resolution
            raise BadSetting(f"size must have an even width and an even height for a clip, not {self.size}.")

    def all_weathers(self) -> list[str]:
        """The day, then the other weathers that were asked for."""
        return ["day", *(weather for weather in self.weather if weather != "day")]
