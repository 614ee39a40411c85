"""Arguments and settings of the invention-map commands. Does not import torch, so that `--help` is fast."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from gen.device_names import Device
from gen.training.settings import EMASettings, ImagesOrEpochs, Positive, TrainerSettings


@dataclass(frozen=True, kw_only=True)
class InventionSettings(ImagesOrEpochs, EMASettings, TrainerSettings):
    """Settings of `gen train-invention`; with the defaults, a run takes about twenty minutes on one core."""

    rendered: Path
    """Folder of `gen render-street` frames, with adverse/ and day/."""
    model: str = "augan-night2day"
    """Name or folder of the translator for which to train a map."""
    images: Positive | None = 4000
    """Frames to train on, repetitions included."""
    batch: Annotated[int, Field(ge=2)] = 4
    """Frames per step. At least 2: the invented share is measured against the days of the batch's other streets."""
    lr: Annotated[float, Field(gt=0)] = 2e-3
    """Adam's learning rate; constant for the first half of the run, then linearly to zero."""
    ema_half_life: Positive = 200
    """Half-life of the averaged weights (EMA), in images."""
    echoes: Positive = 4
    """Training steps per translated batch, alternately flipped (data echoing). Saves time, because translating costs
    more than training the map."""
    spared: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of the frames used as rendered; the others are degraded to look like a real camera's."""
    sample_every: Positive = 400
    """Images between two sample grids."""
    checkpoint_every: Positive = 400
    """Images between two checkpoints."""


@dataclasses.dataclass(frozen=True)
class TrainInventionArguments:
    """Train a map of the parts that a model invents in translations to clear day, on rendered pairs.

    The translator is not changed. Run the same command again to resume.
    """

    model: str
    """Name or folder of the translator for which to train a map."""
    rendered: Path
    """Folder of pairs from `gen render-street` or `gen simulate-weather`, of about the height at which the model runs
    (192 rows for augan-night2day)."""
    out: Path
    """Run directory, for example runs/invention."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set images=5000; may be repeated. `--set help` lists all settings."""


@dataclasses.dataclass(frozen=True)
class ExportInventionArguments:
    """Add a trained invention map to the folder of its model."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory of `gen train-invention`."""
    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Name or folder of the model; the map is written to its sub-folder invention/."""
    default: bool = False
    """Make this map the model's default instead of the cycle uncertainty. Without it, the default stays what it is."""
    calibrate: Path | None = None
    """Folder of `gen render-street` frames on which neither the translator nor the map was trained, to calibrate the
    map's values."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InventionEvaluation:
    """Measure a model's invention map, and compare it with cycle uncertainty and two simple baselines."""

    rendered: Path
    """Folder of `gen render-street` frames not used in training, with adverse/ and day/."""
    model: str = "augan-night2day"
    """Name or folder of a model with an invention map."""
    real: Path | None = None
    """Folder of real adverse frames not used in training."""
    other_model: str | None = None
    """A second translator, trained with another seed: the map should be high where the two disagree on real frames."""
    detector: Path | None = None
    """YOLOX as an ONNX file: the map should be high at objects that it finds only in the translation."""
    limit: int | None = None
    """Use only this many frames of each folder, evenly spaced. Default: all."""
    seed: int = 0
    """Seed of the random degradations of the rendered frames."""
    out: Path | None = None
    """Folder for evaluation.json. Default, for a model given as a path: invention/ in its folder, with a new card. A
    model given by name needs it, because its weights may be shared."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
