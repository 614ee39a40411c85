"""Settings of StyleGAN2 training. Free of torch, so that help texts and usage errors answer at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gen.metrics.names import FeatureName
from gen.training.settings import Batch, EMASettings, ImagesOrEpochs, Positive, PositiveFloat, TrainerSettings

Adversary = Literal["published", "projected"]


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Settings(ImagesOrEpochs, EMASettings, TrainerSettings):
    """Settings of StyleGAN2 training; the defaults are the published networks at 256 pixels, with DiffAugment."""

    presets = Path(__file__).parent / "presets"

    data: Path
    """Folder of aligned images of one kind; of an image that is not square, the middle square is used."""

    size: Annotated[int, Field(ge=32, le=1024)] = 256
    """Side of the images in pixels; a power of two."""
    channel_multiplier: PositiveFloat = 2.0
    """Channels at r pixels: 16384 times this, divided by r, at most `channel_max`."""
    channel_max: Positive = 512
    """Channels of the coarse layers, which is the largest number of channels."""
    z_dim: Positive = 512
    """Length of z and of w."""
    mapping_layers: Positive = 8
    """Layers of the mapping network, from z to w."""

    start_from: Path | None = None
    """Initial weights of the generator: a model folder, the name of shipped weights, or another project's .pt or .pkl.
    One for smaller images is given finer levels. Default: random weights."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Images at the start during which only the discriminator is trained: about 1,000 with start_from, which has
    none."""

    adversary: Adversary = "published"
    """Discriminator. published: StyleGAN2's, trained from scratch; projected: heads on the features of a frozen
    ImageNet network (set r1_gamma=0)."""
    projected_width: Positive = 64
    """Channels that the projected discriminator mixes each feature map to."""
    augment: bool = True
    """Use DiffAugment, which helps with sets of a few thousand images."""
    ada_target: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Use adaptive augmentation (ADA) instead: images are changed more often while the mean sign of D(real) is above
    this; 0.6 is published. 0: no ADA."""
    flip: bool = True
    """Mirror half of the training images."""

    batch: Batch = 16
    """Images per optimiser step, over all devices and accumulation steps."""
    lr: PositiveFloat = 0.002
    """Adam's learning rate."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of the run in which the learning rate falls linearly to zero; the paper keeps it constant (0)."""
    r1_gamma: float = 1.0
    """R1 weight gamma; the loss has gamma / 2. About 0.0002 size^2 / batch, more for small sets."""
    r1_every: Positive = 16
    """Steps between two R1 steps; the penalty is multiplied by this number, so its mean effect stays the same."""
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Style mixing: share of samples whose fine layers use another w than their coarse layers."""
    path_weight: float = 2.0
    """Weight of the path length penalty; 0 disables it."""
    path_every: Positive = 4
    """Steps between two path length steps; each uses half of the batch."""
    ema_half_life: Positive = 10_000
    """Half-life of the averaged weights (EMA), in images."""
    ema_ramp: float | None = 0.05
    """EMA half-life at the start, as a share of the images shown so far; null: `ema_half_life` from the first step."""

    distance_every: Positive = 50_000
    """Images between two measurements of the Fréchet distance."""
    distance_images: Annotated[int, Field(ge=0)] = 5000
    """Images drawn for each measurement; 0 disables it."""
    distance_features: FeatureName = "auto"
    """Feature network of the Fréchet distance."""

    may_change = (TrainerSettings.may_change - {"accumulate"}) | {
        "distance_every", "distance_images", "distance_features",
    }  # fmt: skip
