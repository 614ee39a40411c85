"""Settings that every unpaired translator is trained with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gen.errors import BadSetting
from gen.training.settings import EMASettings, ImagesOrEpochs, Positive, TrainerSettings

CropSide = Annotated[int, Field(ge=64, multiple_of=4)]
"""Pixels: generators halve the size twice, and discriminators need at least 64."""


@dataclass(frozen=True, kw_only=True)
class UnpairedSettings(ImagesOrEpochs, EMASettings, TrainerSettings):
    """Two folders of frames, and pairs to mix in."""

    adverse: Path
    """Folder of frames in adverse weather: night, rain, fog."""
    normal: Path
    """Folder of frames in clear daylight; other places and times, unpaired."""

    rendered: Path | None = None
    """Folder of `gen render-street` frames, with adverse/ and day/, to mix in as pairs."""
    rendered_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of the samples that are rendered pairs."""
    simulated: Path | None = None
    """Folder of `gen simulate-weather` frames, with adverse/ and day/, to mix in as pairs."""
    simulated_share: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of the samples that are simulated pairs."""
    pair_weight: Annotated[float, Field(ge=0)] = 10.0
    """Weight of the distance between a pair's translations and its true frames."""

    load_height: Positive = 288
    """Height in pixels that frames are resized to when cached, at their own aspect ratio."""
    crop: tuple[CropSide, CropSide] = (256, 512)
    """Height and width in pixels of a training crop; multiples of 4."""
    pool_size: Annotated[int, Field(ge=0)] = 50
    """Size of each domain's image pool: past translations that are shown to the discriminators again."""


def pair_sources(s: UnpairedSettings) -> dict[str, tuple[Path | None, float]]:
    """Sources of pairs: folder and share of the samples."""
    return {"rendered": (s.rendered, s.rendered_share), "simulated": (s.simulated, s.simulated_share)}


def share_of_pairs(s: UnpairedSettings) -> float:
    """The share of the samples that are pairs. Raises `BadSetting` if it is more than 1."""
    total = sum(share for folder, share in pair_sources(s).values() if folder is not None)
    if total > 1:
        raise BadSetting(f"rendered_share and simulated_share add up to {total:g}; their sum must be at most 1.")
    return total
