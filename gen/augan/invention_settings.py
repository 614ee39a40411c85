"""Arguments and settings of the commands for invention maps. Nothing heavy is imported here."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from gen.training.settings import EMASettings, ImagesOrEpochs, Positive, TrainerSettings


@dataclass(frozen=True, kw_only=True)
class InventionSettings(ImagesOrEpochs, EMASettings, TrainerSettings):
    """Settings of `gen train-invention`; the defaults take about twenty minutes on one core."""

    rendered: Path
    """Folder of `gen render-street` frames, adverse/ and day/."""
    model: str = "augan-night2day"
    """Name or folder of the translator that the map is for."""
    images: Positive | None = 4000
    """Frames to show."""
    batch: Annotated[int, Field(ge=2)] = 4
    """Frames in a step; the true days of its other streets are what shares are measured against."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    """Adam's learning rate; constant for the first half of the run, then linearly to zero."""
    ema_half_life: Positive = 200
    """Images after which a weight's share in the averaged weights has halved."""
    echoes: Positive = 4
    """Steps taken on each translated batch, every other one flipped: the translator costs more than the map."""
    spared: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of the frames that are shown as rendered; the others are degraded like a real camera's."""
    sample_every: Positive = 400
    """Images between two sample grids."""
    checkpoint_every: Positive = 400
    """Images between two checkpoints."""


@dataclasses.dataclass(frozen=True)
class TrainInventionArguments:
    """Teach a model which parts of its translations to clear day are made up, on rendered pairs.

    The translator stays as it is. The same command again goes on where it stopped.
    """

    model: str
    """Name or folder of the translator that the map is for."""
    rendered: Path
    """Pairs of `gen render-street` or `gen simulate-weather`, about as many rows as the model works at (192 for
    augan-night2day)."""
    out: Path
    """Run directory, for example runs/invention."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of InventionSettings as field=value, for example --set images=5000; may be given several times."""


@dataclasses.dataclass(frozen=True)
class ExportInventionArguments:
    """Put a trained invention map into the folder of the model that it was trained for."""

    run: tyro.conf.Positional[Path]
    """Run directory of `gen train-invention`."""
    model: tyro.conf.Positional[str]
    """Name or folder of the model; it gets a folder invention/."""
    default: bool = False
    """Show this map, and not the cycle uncertainty, where no map is asked for by name."""
    calibrate: Path | None = None
    """Folder of `gen render-street` frames that neither the translator nor the map was trained on: the map's numbers
    are scaled so that they hold there."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InventionEvaluation:
    """Measure a model's invention map, beside its cycle uncertainty and what needs no training."""

    rendered: Path
    """Folder of `gen render-street` frames that were not trained on, adverse/ and day/."""
    model: str = "augan-night2day"
    """Name or folder of a model that has an invention map."""
    real: Path | None = None
    """Folder of real adverse frames that were not trained on."""
    other_model: str | None = None
    """A second translator of another seed: where the two disagree on real frames, the map should be high."""
    detector: Path | None = None
    """YOLOX ONNX file: do objects that it finds in the translation alone lie where the map is high?"""
    limit: int | None = None
    """Frames of each folder, spread evenly over it; none: all."""
    seed: int = 0
    """Seed of the degradations of the rendered frames."""
    out: Path | None = None
    """Folder that gets evaluation.json; none: invention/ in the model's folder."""
