"""Settings of AU-GAN training. Does not import torch, so that `--help` is fast."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gen.errors import BadSetting
from gen.training.settings import Positive
from gen.translation.training_settings import UnpairedSettings, share_of_pairs

Upsampling = Literal["deconv", "resize"]
Design = Literal["published", "light"]
Adversary = Literal["published", "projected", "both", "none"]
FeatureMatching = Literal["channel_mean", "full", "off"]


@dataclass(frozen=True, kw_only=True)
class AUGANSettings(UnpairedSettings):
    """Settings of AU-GAN training; the defaults are the published ones (preset bdd has its frames' size, too)."""

    presets = Path(__file__).parent / "presets"

    pairs_first: Annotated[int, Field(ge=0)] = 0
    """For this many images at the start, train on pairs only, rendered or simulated. The generators learn from the true
    frames, without discriminators and cycles, which costs a third as much."""
    start_from: Path | None = None
    """Initial weights: a run directory (its last checkpoint), a model folder, or the name of shipped
    weights. Default: random weights. `choose_settings` in gen/augan/start.py, which the commands use, takes the
    architecture and the sizes from a model."""
    warm_up: Annotated[int, Field(ge=0)] | None = None
    """Images at the start, or after `pairs_first`, during which only discriminators and reconstruction decoders are
    trained. Default: 500 if start_from is a model, because a model has no discriminators; else 0."""

    width: Positive = 64
    """Channels of a generator's first layer."""
    blocks: Positive = 4
    """Residual blocks in each encoder and decoder."""
    adversary: Adversary = "published"
    """Discriminators. published: cross-wired, two for each domain, trained from scratch; projected: heads on the
    features of a frozen ImageNet network; both; none."""
    discriminator_width: Positive = 32
    """Channels of a published discriminator's first level."""
    discriminators: Positive = 2
    """Published discriminators per domain."""
    projected_width: Positive = 64
    """Channels that the projected discriminators mix each feature map to."""
    design: Design = "published"
    """Design of the generators. light: the same parts at a quarter of the MACs, see gen/augan/light.py."""
    pretrained: bool = False
    """Only for design=light: the encoders also take the features of a frozen ImageNet network."""
    upsampling: Upsampling = "deconv"
    """Only for design=published. deconv: transposed convolutions, as published; resize: nearest-neighbour upsampling
    and a convolution, which avoids checkerboard artefacts."""

    exposure: float = 0.0
    """Strength k of the curve ln(1 + k x) / ln(1 + k). The generator to normal changes the frame under this curve
    instead of generating a new one; the other generator uses the inverse. 30 suits nights; a small value hardly changes
    the frame; 0, as published: no curve, the generators produce whole images."""

    transfer: bool = True
    """Contribution 1: the feature transfer network (T-net) in the adverse -> normal generator."""
    transfer_blocks: Positive = 4
    """Residual blocks in the T-net."""
    transfer_in_normal_cycle: bool = True
    """Use the T-net on the fake adverse image of the normal cycle too, as the published code does (its figure
    does not)."""
    feature_matching: FeatureMatching = "channel_mean"
    """Contribution 2: asymmetric feature matching. full: channel by channel; off: none."""
    uncertainty: bool = True
    """Contribution 3: the uncertainty head and the uncertainty-aware cycle loss."""
    augment: bool = False
    """Randomly shift and cut out parts of the discriminators' input (DiffAugment), so that they cannot memorise a small
    data set."""
    reconstruction: Literal["separate", "shared"] = "separate"
    """separate: self-reconstruction has its own decoder, as in the published code; shared: it uses the other
    generator's decoder, as in the paper's figure."""

    reconstruct_every: Positive = 1
    """Do self-reconstruction in every n-th step only; its loss is multiplied by n."""
    pairs_back_every: Positive = 1
    """During `pairs_first`, train normal -> adverse in every n-th step only; adverse -> normal learns in every step."""
    cycle_every: Positive = 1
    """Do cycles and feature matching in every n-th step only; their losses are multiplied by n."""

    energy_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the energy distance between the features of unpaired translations and of real frames, see
    gen/training/energy.py; an alternative to discriminators."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial losses."""
    cycle_weight: float = 10.0
    """Weight of the plain cycle losses."""
    uncertain_cycle_weight: float = 1.0
    """Weight of the uncertainty-aware cycle loss, which contains a factor of 5, half of cycle_weight."""
    reconstruction_weight: float = 10.0
    """Weight of the self-reconstruction losses."""
    feature_weight: float = 1.0
    """Weight of asymmetric feature matching."""
    perceptual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the distance between cycled and source images in the features of a frozen ImageNet network."""
    pair_quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Quantile of the pair loss (pinball loss). 0.5: mean absolute error. Above 0.5, the generator prefers the brighter
    option where a dark frame is ambiguous: a black area becomes sky rather than wall."""
    pair_perceptual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the pairs' distance in the features of a frozen ImageNet network."""


def uses_frozen_network(s: AUGANSettings) -> bool:
    """Whether a discriminator or a loss uses EfficientNet-Lite0, which is then not a fair measure in an evaluation."""
    in_losses = s.perceptual_weight > 0 or s.pair_perceptual_weight > 0 or s.energy_weight > 0
    return s.adversary in ("projected", "both") or in_losses


def published_discriminators(s: AUGANSettings) -> int:
    """Number of published discriminators per domain."""
    return s.discriminators if s.adversary in ("published", "both") else 0


def check_pairs(s: AUGANSettings) -> None:
    """Raises `BadSetting` if the shares of pairs add up to more than 1, or for `pairs_first` without pairs."""
    if s.pairs_first and not share_of_pairs(s):
        raise BadSetting(
            f"pairs_first={s.pairs_first}, but there are no pairs: set simulated (frames of `gen simulate-weather`) or "
            "rendered (frames of `gen render-street`), or set pairs_first=0."
        )
