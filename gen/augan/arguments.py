"""The arguments of AU-GAN's commands. Nothing heavy is imported here, so that help and usage errors answer at once."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gen.augan.simulated.settings import Weather

Space = Literal["inception", "squeezenet", "efficientnet-lite0"]
SPACES: tuple[Space, ...] = ("inception", "squeezenet", "efficientnet-lite0")
"""The feature spaces, the one that decides first before the others."""


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train AU-GAN on two unpaired folders of frames. The same command again goes on where it stopped."""

    adverse: Path
    """Folder of frames in adverse weather (night, rain, fog), in sub-folders or not."""
    normal: Path
    """Folder of frames in clear daylight."""
    out: Path
    """Run directory, for example runs/night2day."""
    preset: Literal["bdd", "alderley", "pairs", "fast", "small", "tiny"] = "bdd"
    """bdd, alderley: the published sizes, for a GPU; fast: a CPU; small: the published design on a
    CPU; tiny: a first look."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of AUGANSettings as field=value, for example --set lr=1e-4; may be given several times."""
    strict: bool = False
    """Refuse folders with pictures that cannot be used, instead of leaving them out."""
    dry_run: bool = False
    """Only print the settings, data, parameters, MACs and the time that the run will take."""


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Turn the last checkpoint of a run into a model folder that pipelines load, with the record for its card."""

    run: tyro.conf.Positional[Path]
    """Run directory of `gen train-augan`."""
    out: tyro.conf.Positional[Path]
    """Model folder, for example weights/augan-night2day."""
    half: bool = False
    """Store float16 alone, a third of the size; it is loaded as float32 unless told otherwise."""
    height: int | None = None
    """Rows that the pipeline runs at by default; none: as the model that the run began from, or as trained."""
    weather: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What the adverse frames showed, for example --weather night --weather "rainy night". The page and --help say it,
    and --model auto chooses by it; none: as the model that the run began from says. Where nobody says, auto never
    chooses this model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What `gen evaluate-augan` measures, and on what."""

    adverse: Path
    """Folder of held-out frames of the adverse domain (night, rain)."""
    normal: Path
    """Folder of held-out frames of the normal domain (clear day)."""
    model: str = "augan-night2day"
    """Name or folder of the model."""
    baseline: Path | None = None
    """Folder of a second model to set beside it: the symmetric one trained on the same number of images."""
    rival: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Another model to set beside it, as name=FOLDER; may be given several times."""
    direction: Literal["both", "adverse_to_normal", "normal_to_adverse"] = "both"
    """Which way to translate; one way takes half of the time."""
    adverse_reference: Path | None = None
    """Other real adverse frames, for instance the training ones: their distance is the floor."""
    normal_reference: Path | None = None
    """Other real normal frames, for instance the training ones: their distance is the floor."""
    rendered: Path | None = None
    """Folder of `gen render-street` frames that were not trained on: scores against the true clear day."""
    shown: Path | None = None
    """Folder of clear-day frames that may be published: a contact sheet of the way back."""
    clip: Path | None = None
    """Clip of adverse weather: how much flicker a translation adds."""
    detector: Path | None = None
    """YOLOX as an ONNX file (COCO): counts the vehicles, people and lights that are found in every row."""
    perceptual: Path | None = None
    """File of squeezenet1_1 weights for the perceptual distance; none: those that are at hand."""
    features: tuple[Space, ...] = ()
    """Spaces of the distances; none: SqueezeNet, EfficientNet-Lite0, and Inception where its weights can be had."""
    resolution: str = "auto"
    """What the network works at: auto (as the pipeline does by default), native, or HxW as in 256x512."""
    limit: int | None = None
    """Frames of each folder, spread evenly over it, and first frames of the clip; none: all."""
    batch: int = 8
    """Frames translated at once."""
    subset_size: int = 100
    """Images in a subset of the kernel distance, and at most half of a set."""
    seed: int = 0
    """Seed of those subsets."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: the GPU where there is one."""
    out: Path | None = None
    """Folder that gets evaluation.json, and sheet.jpg, which shows real frames; none: the model's own, no sheet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """Train each recipe of a YAML file for the same core-minutes, and judge all on frames that none was trained on.

    The same command again goes on where it stopped; two at once, each with its own --only, share the work.
    """

    recipes: tyro.conf.Positional[Path]
    """YAML file: a name for each recipe, and under it the settings that differ from the preset, as field: value."""
    adverse: Path
    """Folder of frames in adverse weather."""
    normal: Path
    """Folder of frames in clear daylight."""
    out: Path
    """Folder that gets a run and a model for each recipe, README.md with the table, and sheet.jpg."""
    rendered: Path | None = None
    """Folder of `gen render-street` frames to mix into the training."""
    simulate: Weather | None = None
    """Weather that `gen simulate-weather` makes of the normal frames that train, for recipes with simulated_share."""
    preset: str = "fast"
    """Preset that every recipe begins with."""
    core_minutes: float = 60.0
    """Processor time of each recipe."""
    seed: int = 0
    """Seed of each recipe."""
    hold_out: int = 100
    """Frames of each folder, spread evenly over it, that judge and do not train."""
    only: tuple[str, ...] = ()
    """Recipes to train now; none: all, and then the judging."""
    judge_now: bool = False
    """Train nothing; judge the recipes that are trained, and name the others in the table's page."""
    detector: Path | None = None
    """YOLOX as an ONNX file, for `gen evaluate-augan`."""
