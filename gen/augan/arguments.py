"""Arguments of AU-GAN's commands. Does not import torch, so that `--help` is fast."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gen.augan.simulated.settings import Weather
from gen.device_names import Device
from gen.licences import LicenceArgument
from gen.training.command import OwnTrainer

Space = Literal["inception", "squeezenet", "efficientnet-lite0"]
SPACES: tuple[Space, ...] = ("inception", "squeezenet", "efficientnet-lite0")
"""Feature spaces of the distances, in order of preference for the verdict."""


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train AU-GAN on two unpaired folders of frames. Run the same command again to resume."""

    adverse: Path
    """Folder of frames in adverse weather (night, rain, fog); sub-folders are included."""
    normal: Path
    """Folder of frames in clear daylight; sub-folders are included."""
    out: Path
    """Run directory, for example runs/night2day."""
    preset: Literal["bdd", "alderley", "pairs", "fast", "small", "tiny"] = "bdd"
    """bdd, alderley: the published sizes, for a GPU. fast: for a CPU. small: the published design on a CPU. tiny: a
    quick test."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set lr=1e-4 batch=4. `--set help` lists all settings."""
    strict: bool = False
    """Stop with an error if an image cannot be used, instead of leaving it out."""
    trainer: OwnTrainer = None
    """A trainer of your own: a class in a file of yours that extends AUGANTrainer; see docs/methods.md."""
    fit_memory: bool = False
    """Split each step into as many parts (the setting accumulate) as the free memory needs."""
    dry_run: bool = False
    """Only print settings, pictures, parameters and MACs, and the expected duration; it takes less than a minute."""


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Turn the last checkpoint of a run into a model folder for `gen translate` and pipelines."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory of `gen train-augan`."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/augan-night2day."""
    half: bool = False
    """Store only float16, a third of the size; it is loaded as float32 by default."""
    height: int | None = None
    """Height in pixels at which the pipeline runs. Default: that of the model that the run started from, else the
    training height."""
    weather: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Weather of the adverse frames, for example --weather night --weather "rainy night"; may be repeated. Shown in the
    web page and used by --model auto. Default: the weathers of the model that the run started from. A model without
    weathers is never chosen by auto."""
    weights_license: LicenceArgument = "unstated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Measure a model on held-out frames and write its model card."""

    adverse: Path
    """Folder of held-out frames of the adverse domain (night, rain)."""
    normal: Path
    """Folder of held-out frames of the normal domain (clear day)."""
    model: str = "augan-night2day"
    """Name or folder of the model."""
    baseline: Path | None = None
    """Folder of a symmetric model trained on the same number of images, to compare with."""
    rival: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Another model to compare with, as name=FOLDER; may be repeated."""
    direction: Literal["both", "adverse_to_normal", "normal_to_adverse"] = "both"
    """Direction to evaluate; a single one takes half of the time."""
    adverse_reference: Path | None = None
    """Other real adverse frames, such as the training set: their distance shows how close a model can get."""
    normal_reference: Path | None = None
    """Other real normal frames, such as the training set: their distance shows how close a model can get."""
    rendered: Path | None = None
    """Folder of `gen render-street` frames not used in training: scores against the true clear day."""
    shown: Path | None = None
    """Folder of clear-day frames that may be published: makes a contact sheet of normal to adverse."""
    clip: Path | None = None
    """Clip of adverse weather: measures the flicker that translation adds."""
    detector: Path | None = None
    """YOLOX (COCO) as an ONNX file: counts vehicles, people and lights in the frames of each row."""
    perceptual: Path | None = None
    """File of squeezenet1_1 weights for the perceptual distance. Default: the cached or shipped weights."""
    features: tuple[Space, ...] = ()
    """Feature spaces of the distances. Default: SqueezeNet, EfficientNet-Lite0, and Inception if its weights are
    available."""
    resolution: str = "auto"
    """Size at which the network runs: auto (the pipeline's default), native, or WIDTHxHEIGHT as in 512x256."""
    limit: int | None = None
    """Use only this many frames: evenly spaced from each folder, and the first ones of the clip. Default: all."""
    batch: int = 8
    """Frames per batch."""
    subset_size: int = 100
    """Images per subset of the kernel distance; at most half of a set."""
    seed: int = 0
    """Seed of the random subsets."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
    out: Path | None = None
    """Folder for evaluation.json and sheet.jpg, which shows real frames. Default, for a model given as a path: its
    folder, with a new card and without a sheet. A model given by name needs it, because its weights may be shared."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Train each recipe of a YAML file for the same CPU time, and evaluate all on held-out frames.

    Run the same command again to resume. Several processes can share the work, each with its own --only.
    """

    recipes: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RECIPES")]
    """YAML file: recipe names, each with the settings that differ from the preset, as field: value. `method: cyclegan`
    trains a CycleGAN or CUT instead of an AU-GAN, and `trainer: FILE.py:CLASS` a trainer of your own. A recipe cannot
    have the name of another row of the table: untouched, gamma, histogram, baseline, model, floor, target."""
    adverse: Path
    """Folder of frames in adverse weather."""
    normal: Path
    """Folder of frames in clear daylight."""
    out: Path
    """Output folder: a run and a model for each recipe, README.md with the table, and sheet.jpg."""
    rendered: Path | None = None
    """Folder of `gen render-street` frames to mix into the training."""
    simulate: Weather | None = None
    """Weather to simulate on the normal training frames, for recipes with simulated_share > 0."""
    preset: str = "fast"
    """Preset on which all recipes are based."""
    core_minutes: float = 60.0
    """CPU time per recipe and seed, in minutes of one core."""
    seed: int = 0
    """Seed of each recipe."""
    seeds: int = 1
    """Train each recipe with this many seeds, from `--seed` upwards. The table then has the mean and the standard
    deviation over the seeds, and a row for each."""
    hold_out: int = 100
    """Evenly spaced frames of each folder that are used for evaluation instead of training."""
    only: tuple[str, ...] = ()
    """Train only these recipes now. Default: all, followed by the evaluation."""
    judge_now: bool = False
    """Train nothing; evaluate the recipes trained so far, and list the others in README.md."""
    detector: Path | None = None
    """YOLOX as an ONNX file, as in `gen evaluate-augan`."""
