"""Settings of `gen measure-shift`. This module imports no torch, so that `--help` answers at once."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

IMAGENET, NONE = "imagenet", "none"
"""Values of `reference` that are not folders."""

RepresentationName = Literal["luma16", "luma32", "luma256", "hue180", "hsv4", "lab8", "rgb8", "features"]


@dataclasses.dataclass(frozen=True)
class MeasureShiftSettings:
    """Measure how far image domains are apart (IDD) and how much each varies within itself (ICV)."""

    roots: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="ROOTS")]
    """Folders of images: CLASS/IMAGE is one domain, DOMAIN/CLASS/IMAGE several; IMAGE is one domain of one class."""
    out: Path
    """Output folder for table.csv, table.json, scatter.png and pairwise.png."""
    representation: RepresentationName = "luma32"
    """What is compared: histograms of luma, hue or colour, or network features."""
    reference: str = IMAGENET
    """What IDD is measured from: imagenet (shipped, luma only), a folder of images, or none."""
    relative_to: str | None = None
    """Name of a domain: adds the ratio of every ICV to this domain's ICV to the table."""
    balanced: bool = False
    """Weight classes equally in the mean histograms, instead of images."""
    pairs: int = 2000
    """Random pairs of images per class for ICV; a class with fewer pairs uses all of them."""
    resamples: int = 1000
    """Bootstrap resamples for the 95 % intervals; 0: no intervals."""
    seed: int = 0
    """Seed of the pairs and resamples."""
    cache: Path | None = None
    """Folder that stores the histograms, so that each image is decoded once. Default: OUT/cache."""
    workers: int = 4
    """Threads that decode images."""

    @property
    def cache_folder(self) -> Path:
        """Where the histograms are stored."""
        return self.cache or self.out / "cache"
