"""Settings of `gen render-smd`. No heavy imports: command-line help and usage errors need only this module."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gen.device_names import Device
from gen.errors import BadSetting, unknown
from gen.smd.names import SCENES, SceneName, Split
from gen.smd.styles import STYLES, find_style
from gen.smd.writing import check_seed

if TYPE_CHECKING:
    StyleName = str
else:  # read from the list of styles when this module is first imported, so that help shows them as choices
    StyleName = Literal[tuple(STYLES)]

STYLES_HELP = f"Console styles: {', '.join(f'{s.name} ({s.label})' for s in STYLES.values())}."


@dataclasses.dataclass(frozen=True)
class RenderSettings:
    """Render game scenes: OUT/STYLE/CLASS/NUMBER.jpg, the same level under the same number in every style."""

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Folder for the data set, in the layout that DomainBed reads."""
    per_class: int = 2500
    """Levels of each class, each rendered in every style."""
    size: int = 224
    """Side of the square pictures in pixels, 16 to 1024."""
    styles: Annotated[tuple[StyleName, ...], tyro.conf.arg(help=STYLES_HELP)] = tuple(STYLES)
    scenes: tuple[SceneName, ...] = SCENES  # pyright: ignore[reportAssignmentType]
    """Classes of scenes."""
    seed: int = 0
    """Seed of the levels; another seed gives another data set."""
    split: Split = "train"
    """train or val. The two never share a level, whatever the seeds."""
    noise: bool = False
    """Degrade the pictures like a video capture: scaled down and up, then JPEG."""
    quality: int = 85
    """JPEG quality of the files, 1 to 100."""
    preview: bool = False
    """Only write OUT/preview.jpg, a contact sheet: one level of each class in each style."""
    workers: int | None = None
    """Number of processes. Default: one per core."""
    device: Device = "cpu"
    """Device that renders the 3D styles."""

    def check(self) -> None:
        """Raises `BadSetting` for values out of range."""
        if self.per_class < 1 or not 16 <= self.size <= 1024:
            raise BadSetting(
                f"per_class must be at least 1 and size from 16 to 1024 pixels, not {self.per_class} and {self.size}."
            )
        if not 1 <= self.quality <= 100:
            raise BadSetting(f"quality must be from 1 to 100, not {self.quality}.")
        for style in self.styles:
            find_style(style)
        for scene in self.scenes:
            if scene not in SCENES:
                raise BadSetting(unknown("scene", scene, SCENES))
        check_seed(self.seed)
