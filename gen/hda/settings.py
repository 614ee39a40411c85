"""Settings of adaptation, drawing, inversion and evaluation.

Free of torch, so that help texts and usage errors answer at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import Field

from gen.device_names import Device
from gen.hda.parsing import made_for, parse_adaptation
from gen.training.settings import Batch, EMASettings, Positive, PositiveFloat, TimeLimit, TrainerSettings

Anchor = Literal["target", "source"]
Layers = Literal["all", "nada", "affine", "coarse", "fine", "shape", "texture", "no_fine"]

OLD_LAYERS = {"shape": "coarse", "texture": "fine"}
"""What two names meant before they became those of StyleGAN-NADA's sets."""


DIRECTIONS = Path("out/directions")
"""Where `gen directions` writes and `gen generate` reads, unless told otherwise."""

SHIPPED = "mobilestylegan-faces128"
"""The generator where nobody names one."""

SAMPLES = 1600
"""Samples that an adaptation may draw where nobody says how many, in the shell and on the page."""


@dataclass(frozen=True, kw_only=True)
class HDASettings(TimeLimit, EMASettings, TrainerSettings):
    """Settings of an adaptation."""

    source: str
    """The source generator: a model name or folder, a rosinality .pt, an NVlabs .pkl (FILE.pkl:3: class 3
    of a generator of several), or the wheel of random-face."""
    domains: tuple[str, ...]
    """name=DIR[:alpha] for a folder of reference images, name=text:WORDS[:alpha] for a description in words."""
    encoders: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "efficientnet-lite0@128",
        "efficientnet-lite0-style@64",
    )
    """Frozen encoders, name[@pixels] or family:model[@pixels]; their losses are summed. `gen adapt` chooses them itself
    where none are given: CLIP where it is on this machine."""

    method: Literal["hda", "nada"] = "hda"
    """hda: distance and direction to each domain's subspace; nada: one direction for all samples, mean to mean, as also
    in UniHDA."""
    direction_weight: float | Literal["auto"] = 0.1
    """lambda, the weight of the direction loss; auto: its gradient is as strong as that of the distance loss."""
    rank: Annotated[int, Field(ge=0)] | None = None
    """Dimensions of a domain's subspace; 0: only the mean of the references. Default: all that the references span."""
    subspace: Literal["affine", "linear"] = "affine"
    """affine: through the mean of the references; linear: through the origin."""
    anchor: Anchor = "target"
    """Start of the perpendicular in the direction loss: the adapted features (target, as published) or the source's."""
    detach_foot: bool = False
    """Stop the gradient through the foot f* of the perpendicular in the direction loss."""
    any_brightness: str = ""
    """Names of domains whose brightness does not count, separated by commas, for example fog beside night: darker
    copies of their references are taken too, so that the subspace spans brightness."""
    sequential: bool = False
    """Adapt to one domain after another instead of to all at once. Each one but the last ends when its progress reaches
    `target_progress` or stalls; without a target, each one gets an equal part of the images."""
    structure_weight: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the spatial structure loss (UniHDA), which preserves identity; it uses the first encoder with
    patch tokens. 0: HDA as published."""
    grid_weight: Annotated[float, Field(ge=0)] = 100.0
    """Weight of the grid loss, which keeps adaptation from drawing a fine grid over the image. 0: HDA as published."""
    source_words: str = "photo"
    """What the source generator draws, in words; used for domains given by words."""
    text_templates: bool = True
    """For words, take the mean over StyleGAN-NADA's 79 sentences around them ("a sketch of a WORDS."). Off: the words
    alone."""
    layers: Layers = "all"
    """What is trained. all: constant, styled convolutions and toRGB; nada: without toRGB; affine: only the affine maps
    of the styles; coarse: constant and coarse half of the convolutions; fine: fine half and toRGB. StyleGAN-NADA's:
    shape: constant and convolutions 0 to 2; texture: constant, 0 and 3 to 10; no_fine: constant and 0 to 10."""
    auto_layer_iters: Annotated[int, Field(ge=0)] = 0
    """StyleGAN-NADA's adaptive choice of layers: before each step, so many steps of latents towards the domains tell
    which of `layers` to train; its code has 1. 0: no choice."""
    auto_layer_k: Positive = 1
    """Layers that it trains in each step; a generator of 1024 pixels has 17 to choose from, one of 256 pixels 13."""
    auto_layer_batch: Batch = 8
    """Samples that it chooses by."""

    images: Positive | None = SAMPLES
    """Samples to draw; training may stop earlier."""
    batch: Batch = 8
    """Samples per step."""
    lr: PositiveFloat = 0.004
    """Adam's learning rate after the warm-up."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Last share of `images` in which the learning rate falls linearly to zero."""
    warmup: Annotated[int, Field(ge=0)] = 160
    """Samples over which the learning rate rises linearly from zero."""
    ema_half_life: Positive = 200
    """Half-life of the averaged weights (EMA), in samples."""
    ema_ramp: PositiveFloat | None = 0.25
    """EMA half-life at the start, as a share of the samples drawn so far; null: `ema_half_life` from the first step."""
    stop_when_stalled: bool = True
    """Stop when the mean progress rises by less than half a percent over 50 steps."""
    target_progress: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Stop when the mean progress reaches this value, to compare methods at the same degree of adaptation."""

    may_change = TrainerSettings.may_change | {"stop_when_stalled", "target_progress"}
    of_the_end = TrainerSettings.of_the_end | {"stop_when_stalled", "target_progress"}
    log_every: Positive = 80
    """Samples between two lines of metrics."""
    sample_every: Positive = 800
    """Samples between two previews."""
    checkpoint_every: Positive = 800
    """Samples between two checkpoints."""


def as_now(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in the record of a run, with today's names for what earlier versions did."""
    now: dict[str, Any] = {"grid_weight": 0.0, **recorded}
    if "auto_layer_k" not in now:  # written before StyleGAN-NADA's sets and sentences were there
        now["layers"] = OLD_LAYERS.get(now.get("layers", "all"), now.get("layers", "all"))
        if any("=text:" in domain for domain in now.get("domains", ())):
            now["text_templates"] = False
    return now


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What draws."""

    model: str | None = None
    """A model name or folder, a rosinality .pt, an NVlabs .pkl (FILE.pkl:3: class 3
    of a generator of several), or the wheel of random-face. Default: the generator of the adaptation, or
    mobilestylegan-faces128."""
    adaptation: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FILE[:strength]: a file that `gen adapt` wrote, its run directory, or a shipped adaptation's name (`gen models`
    lists them); may be repeated to blend several."""

    @property
    def source(self) -> str:
        """The generator: `model`, else that of the adaptations, else the shipped one. Raises `BadInput`."""
        made = (made_for(parse_adaptation(text)[0]) for text in self.adaptation)
        return self.model or next(filter(None, made), SHIPPED)


@dataclass(frozen=True)
class GenerateSettings(Drawing):
    """Generate images: single files, a grid from source to adapted, a latent walk, a morph between domains."""

    out: Path = Path("out/generated")
    """Output folder."""
    seeds: str = "0-15"
    """Seeds: numbers and ranges, for example 0-15,20."""
    latents: Path | None = None
    """latents.safetensors written by `gen invert`, to use instead of seeds."""
    truncation: float = 0.7
    """Truncation of w. 1: full variety; 0.7: better images, less variety; 0: the average image."""
    edit: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """DIRECTION=NUMBER: go so many standard deviations along a principal direction, for example smile=1.5 (a name from
    names.txt), 3=-2 (component 3) or 3:0-4=1 (on layers 0 to 4 alone). May be repeated."""
    directions: Path = DIRECTIONS
    """Folder of `gen directions`, for --edit."""
    mix: str | None = None
    """SEED:LAYER, style mixing: layers LAYER and up come from this seed. The first layers decide pose and shape, the
    last ones colour and texture."""
    rows: str | None = None
    """Rows of grid.png, WHAT=VALUES: smile=-2,0,2 or 3:0-4=-2,0,2 (a direction, as for --edit),
    truncation=0.5,0.7,1, strength=0,0.5,1 or mix=7:4,8:4. Each value takes the place of the option's."""
    columns: str | None = None
    """Columns of grid.png, as --rows. With one of the two, the other side is the seeds; with both, the grid is of the
    first seed."""
    strengths: str = "0,0.5,1"
    """Rows of grid.png where neither --rows nor --columns is given: strengths as multiples of those given with
    --adaptation."""
    walk: bool = False
    """Also write walk.mp4, a smooth closed path through the seeds."""
    morph: bool = False
    """Also write morph.mp4: the same seeds from the source to the adapted domain and back; with several adaptations,
    from one to the next and back to the first."""
    seconds: float = 6.0
    """Length of each clip in seconds."""
    rate: int = 24
    """Frames per second of the clips."""
    device: Device = "auto"
    """auto: the GPU if there is one."""


@dataclass(frozen=True)
class DirectionsSettings:
    """Find the principal directions in which a generator's faces vary, and show what each changes, for `gen generate
    --edit`."""

    model: str = SHIPPED
    """A model name or folder, a rosinality .pt, an NVlabs .pkl (FILE.pkl:3: class 3
    of a generator of several), or the wheel of random-face."""
    out: Path = DIRECTIONS
    """Output folder: directions.safetensors, directions.png that shows them, and names.txt for names of yours."""
    rows: int = 12
    """Directions in the picture."""
    layers: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """FIRST-LAST, such as 0-3: also draw directions-0-3.png, where the directions act on these layers alone. May be
    repeated."""
    seeds: str = "0-2"
    """Faces in the picture: numbers and ranges, for example 0-2,20."""
    samples: int = 20_000
    """Latents whose w are analysed."""
    device: Device = "auto"
    """auto: the GPU if there is one."""


@dataclass(frozen=True)
class InvertSettings(Drawing):
    """Find the latents of real photos in the source generator, and draw them in the adapted domain."""

    photos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO")]
    """Photos of the kind that the generator draws, such as faces. Each is cropped to its middle square, which must be
    aligned like the training images."""
    out: Path = Path("out/inverted")
    """Output folder: latents.safetensors, and photo | inverted | adapted side by side for each photo."""
    encoder: Path | None = None
    """A .pt of encoder4editing (e4e) or pSp that was trained with this generator: what it finds is the start of the
    optimiser, or with --steps 0 the result."""
    steps: int = 500
    """Optimiser steps; 1000 is the published number. 0, with --encoder: none."""
    extended: bool = True
    """One latent per layer (W+), closer to the photo; otherwise one for all layers (W), easier to edit."""
    person: str | None = None
    """The photos show one person: also find NAME, the mean of their latents, and draw it as NAME.png."""
    seed: int = 0
    """Seed of the noise on the latents."""
    device: Device = "auto"
    """auto: the GPU if there is one."""


METHODS: dict[str, dict[str, Any]] = {
    "sequential": {"sequential": True, "direction_weight": 0.0},
    "NADA-style": {"method": "nada"},
    "mean point": {"rank": 0, "direction_weight": 0.0},
    "HDA λ=0": {"direction_weight": 0.0},
    "HDA λ=0.1": {"direction_weight": 0.1},
    "HDA λ=0.5": {"direction_weight": 0.5},
    "HDA λ=2": {"direction_weight": 2.0},
    "HDA λ=0.1 + structure": {"direction_weight": 0.1, "structure_weight": 0.1},
    "HDA λ=0.1 + structure + grid": {"direction_weight": 0.1, "structure_weight": 0.1, "grid_weight": 100.0},
}
"""Overrides of HDASettings that make each method with the same trainer; the last one has the losses of `gen adapt`."""


@dataclass(frozen=True)
class EvaluateSettings:
    """Compare adaptation methods on hybrid domains, at equal progress. Run the same command again to resume."""

    hybrid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """Domains of a hybrid, separated by commas: sketch=DIR,sunglasses=DIR. May be repeated."""
    out: Path
    """Folder for the runs, table.md, results.json and an image grid per hybrid."""
    source: Annotated[str, tyro.conf.arg(name="model", aliases=["--source"])] = SHIPPED
    """The source generator; with --adaptation, that of the adaptation is taken where it is known."""
    methods: str = ",".join(METHODS)
    """Methods to compare, separated by commas."""
    seeds: Annotated[int, tyro.conf.arg(name="runs", aliases=["--seeds"])] = 3
    """Runs per method and hybrid, each with its own seed."""
    target_progress: tuple[float, ...] = (0.1,)
    """Mean progress at which each run ends, one table per value; runs that do not reach it are marked."""
    images: int = 3200
    """Most samples that a run may draw."""
    lr: float = 0.0016
    """Adam's learning rate."""
    encoder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Encoders of the loss; may be repeated. Default: efficientnet-lite0@128 and efficientnet-lite0-style@64."""
    judge: str = "squeezenet"
    """Encoder that scores the results; it must not be one of the loss."""
    samples: int = 256
    """Images that each method is scored on; all methods use the same latents."""
    jobs: int = 1
    """Runs in parallel, each on its own core."""
    adaptation: Path | None = None
    """Instead of comparing methods, write attributes.md: this adaptation's progress, measured on the pictures. A
    file, a run directory, or a shipped adaptation's name, as for `gen generate`."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
