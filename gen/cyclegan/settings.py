"""Settings and arguments of the CycleGAN commands. Nothing heavy is imported here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field

from gen.errors import BadSetting
from gen.licences import LicenceArgument
from gen.training.command import OwnTrainer
from gen.training.settings import Batch, Positive, PositiveFloat
from gen.translation.settings import Direction
from gen.translation.training_settings import UnpairedSettings


@dataclass(frozen=True, kw_only=True)
class CycleGANSettings(UnpairedSettings):
    """Settings of CycleGAN training; the defaults are the published ones. Preset cut: CUT's."""

    presets = Path(__file__).parent / "presets"

    directions: Literal["both", "adverse_to_normal", "normal_to_adverse"] = "both"
    """Which generators to train; cycles need both."""
    width: Positive = 64
    """Channels of a generator's first layer."""
    blocks: Annotated[int, Field(ge=5)] = 9
    """Residual blocks in a generator."""
    antialias: bool = False
    """Blur before downsampling and interpolate before upsampling, as CUT does. Default: strided and transposed
    convolutions, as CycleGAN has."""
    discriminator_width: Positive = 64
    """Channels of a discriminator's first layer."""

    batch: Batch = 1
    """Images of each domain in one optimiser step."""
    load_height: Positive = 286
    """Height in pixels that frames are resized to when cached, at their own aspect ratio."""
    crop: tuple[Annotated[int, Field(ge=64, multiple_of=4)], Annotated[int, Field(ge=64, multiple_of=4)]] = (256, 256)
    """Height and width in pixels of a training crop; multiples of 4."""
    epochs: PositiveFloat = 200.0
    """Length of the run in epochs of the smaller domain, if `images` is not given; goes before a preset's `images`."""

    cycle_weight: Annotated[float, Field(ge=0)] = 10.0
    """Weight of cycle consistency, L1."""
    identity_weight: Annotated[float, Field(ge=0)] = 5.0
    """Weight of the identity loss, L1: a generator must not change an image of its own target domain."""
    nce_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of PatchNCE, the contrastive loss of CUT, on translations and on images of the target domain."""
    nce_patches: Positive = 256
    """Positions in each of five feature maps that PatchNCE compares."""
    nce_temperature: PositiveFloat = 0.07
    """Temperature of PatchNCE's softmax."""


def check_settings(s: CycleGANSettings) -> None:
    """Raises `BadSetting` for cycles in one direction only, and for a generator that nothing ties to its input."""
    if s.directions != "both" and s.cycle_weight:
        raise BadSetting(
            f"cycle_weight must be 0 with directions={s.directions}, because a cycle needs both generators."
        )
    if not s.cycle_weight and not s.nce_weight:
        raise BadSetting("cycle_weight, nce_weight: one of them must be above 0, or translations ignore their input.")


@dataclass(frozen=True)
class TrainArguments:
    """Train CycleGAN or CUT on two unpaired folders of frames. Run the same command again to resume."""

    adverse: Path
    """Folder of frames in adverse weather (night, rain, fog); sub-folders are included."""
    normal: Path
    """Folder of frames in clear daylight; sub-folders are included."""
    out: Path
    """Run directory, for example runs/cyclegan."""
    preset: Literal["cyclegan", "cut", "tiny"] = "cyclegan"
    """cyclegan, cut: the published settings; tiny: a quick test on a CPU."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set lr=1e-4 batch=4. `--set help` lists all settings."""
    trainer: OwnTrainer = None
    """A trainer of your own: a class in a file of yours that extends CycleGANTrainer; see docs/methods.md."""


@dataclass(frozen=True)
class ExportArguments:
    """Turn the last checkpoint of a run into a model folder."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory of `gen train-cyclegan`."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/cyclegan-night2day."""
    half: bool = False
    """Store only float16, a third of the size; it is loaded as float32 by default."""
    weather: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Weather of the adverse frames, for example --weather night; may be repeated. --model auto chooses by it."""
    weights_license: LicenceArgument = "unstated"


@dataclass(frozen=True)
class ConvertArguments:
    """Turn a generator (.pth) of pytorch-CycleGAN-and-pix2pix or CUT into a model folder."""

    generator: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="GENERATOR")]
    """Generator file, for example checkpoints/night2day/latest_net_G.pth or latest_net_G_A.pth."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/cyclegan-night2day."""
    direction: Direction = "adverse_to_normal"
    """Direction in which the generator translates."""
    back: Path | None = None
    """The generator of the other direction, for example latest_net_G_B.pth."""
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "256x256"
    """Size of the images that it was trained on; the model runs at this height by default."""
    weather: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Weather of the adverse images, for example --weather night; may be repeated. --model auto chooses by it."""
