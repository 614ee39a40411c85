"""Settings of `gen measure-detector`. This module imports no torch, so that `--help` answers at once."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class MeasureDetectorSettings:
    """Tell whether translations help or hurt an object detector, with 95 % intervals.

    With labels: average precision, recall and precision, before and after. Without: how many objects are found, how
    many of those found before are kept, and how many appear where there was none.
    """

    before: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="BEFORE")]
    """Folder of frames as they were before translation."""
    after: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="AFTER")]
    """Folders of the same frames, translated by `gen translate` or any other tool; a frame keeps its name. BEFORE and
    AFTER may also be JSON files with the objects that a detector of your own found (COCO results, or BDD100K's format
    with scores); these need --labels."""
    detector: Path | None = None
    """YOLOX (COCO) as an ONNX file, for example yolox_nano.onnx of the YOLOX project. Needed for folders."""
    labels: Path | None = None
    """True objects: a JSON file in the format of COCO or of BDD100K."""
    limit: int | None = None
    """Use only this many frames of BEFORE, evenly spaced. Default: all."""
    resamples: int = 1000
    """Bootstrap resamples of the frames for the intervals."""
    seed: int = 0
    """Seed of the resamples."""
    out: Path | None = None
    """Folder for table.md and table.json. Default: only print the table."""
