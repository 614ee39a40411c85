"""Settings of the trainer. This module imports no torch, so that commands can read them at once."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from gen.errors import BadSetting
from gen.smos.benchmarks import find_benchmark
from gen.training.settings import Batch, Positive, PositiveFloat, TimeLimit, TrainerSettings, make_settings

DATASETS = "datasets"
"""Key of a preset under which it has what it sets otherwise for a data set, by the data set's name."""

RELEASED_WEIGHT = 0.15
"""Weight of the published code for its own grounding terms."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SMOSSettings(TimeLimit, TrainerSettings):
    """Training on several domains. Lengths are counted in steps, as in DomainBed's protocol, or in processor time."""

    presets = Path(__file__).parent / "presets"

    @classmethod
    def from_preset(cls, preset: str, **given: Any) -> Self:
        """As `TrainerSettings.from_preset`; a preset may set some things otherwise for a data set."""
        if preset in ("published", "protocol"):
            raise BadSetting(
                f"preset {preset}: it mixed several repositories; choose the settings of one: domainbed, swad, miro, "
                "smos."
            )
        values = cls.read_preset(preset)
        own = values.pop(DATASETS, {})
        if own and "data" in given:
            values |= own.get(find_benchmark(Path(given["data"]), given.get("dataset", "auto"))[0], {})
        return make_settings(cls, values, {"preset": preset, **given})

    data: Path
    """Folder ROOT/DOMAIN/CLASS/IMAGE; `scenes`: game scenes in all styles, rendered during training."""
    val: Path | None = None
    """Held-out images of the same domains, to measure on; all of `data` is then used for training. Rendered scenes need
    it: a level looks similar in all styles, so a random split would leak it."""
    dataset: Literal["auto", "any", "PACS", "VLCS", "OfficeHome", "TerraIncognita", "DomainNet"] = "auto"
    """Data set, to check that no domain or class is missing; auto: recognise it; any: accept every folder."""
    target: str | None = None
    """Domain to leave out of training and to measure. Default: train on all domains."""
    algorithm: str = "erm"
    """Name of an algorithm in gen/smos/algorithms, or FILE.py:CLASS for a class in a file of your own."""
    backbone: str = "resnet50"
    """resnet18, resnet34, resnet50, resnet101, efficientnet-lite0, vit-s16, dinov2-vit-s14, clip-vit-b16, clip-vit-b32
    or timm:MODEL; short: vit, dinov2, and clip for clip-vit-b16."""
    weights: str = "imagenet"
    """Initial weights of the backbone: imagenet, none (random), or a file."""
    precursor: Path | None = None
    """Frozen classifier for algorithms that need one: a folder, or the name of a shipped one."""
    size: Annotated[int, Field(ge=32, le=1024)] = 224
    """Image side in pixels."""

    batch: Batch = 16
    """Images of each domain per step."""
    steps: Positive = 5001
    """Optimiser steps, if `core_minutes` is not set."""
    evaluate_every: Positive = 200
    """Steps between evaluations on the held-out fifths of the sources; the first is after step 1, as in DomainBed."""
    lr: PositiveFloat = 3e-5
    """Learning rate of Adam."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of the steps in which the learning rate falls linearly to zero; DomainBed: 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of Adam, for all networks that are trained."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the linear layer."""
    frozen_norms: bool = True
    """Batch norms keep their running statistics; scale and shift are trained."""
    replacement: bool = True
    """Draw images with replacement, as DomainBed does; false: epoch by epoch."""

    # Options of the first algorithms. They are here and not in `options`, because presets and the settings.json of
    # older runs have them at the top level.
    js_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of the grounding term of smos and its variants. Default: 1 for smos; for smos_released and smos_kl the
    0.15 of the published code."""
    temperature: PositiveFloat = 1.0
    """Softmax temperature in the JS divergence."""
    mi_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of L_MI. Default: miro_weight for miro and miro_precursor, a tenth of js_weight for smos."""
    miro_weight: Annotated[float, Field(ge=0)] = 0.01
    """Weight of L_MI where mi_weight is not set and no other term grounds the student."""
    options: dict[str, Any] | None = None
    """Options of all other algorithms, by name."""

    swad: bool = True
    """Average the weights over the valley of the validation loss (SWAD), and stop where it ends."""
    swad_ratio: Annotated[float, Field(ge=0)] = 0.3
    """The valley ends where the loss exceeds the loss at its start by this share."""
    swad_segment: Literal["paper", "published"] = "paper"
    """Which segments the average counts: each one in the valley once, as the paper says; or as the published code does,
    some of them more than once, see gen/smos/swad.py."""
    cache: Path | None = None
    """Folder for decoded images. Default: OUT/cache."""
    workers: Annotated[int, Field(ge=0)] = 2
    """Processes that render, for data=scenes."""

    log_every: Positive = 160
    """Images per domain between two lines of metrics."""
    sample_every: Positive = 1_000_000
    """Images per domain between two sheets of augmented images."""
    checkpoint_every: Positive = 3200
    """Images per domain between two checkpoints."""

    @property
    def grounding_weight(self) -> float:
        """`js_weight`, or its default for this algorithm."""
        return _grounding_weight(self.js_weight, self.algorithm)

    @classmethod
    def comparable(cls, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """With the weight that `js_weight` stands for: earlier versions recorded its default as a number.

        And without the folder of an algorithm's own file, which may have been moved: its fingerprint is compared too.
        """
        algorithm = str(record.get("algorithm", "erm"))
        weight = _grounding_weight(record.get("js_weight"), algorithm)
        return {**record, "js_weight": weight, "algorithm": without_folder(algorithm)}

    may_change = (TrainerSettings.may_change - {"decay"}) | {"cache", "workers", "steps"}
    """A table has one schedule for all rows."""


def without_folder(algorithm: str) -> str:
    """FILE.py:CLASS without the folder of the file, in smos(...) too; other names as they are."""
    grounding, inner, end = parts_of(algorithm)
    return f"{grounding}{Path(inner).name if '.py:' in inner else inner}{end}"


def parts_of(algorithm: str) -> tuple[str, str, str]:
    """smos(NAME) -> "smos(", "NAME", ")"; NAME -> "", "NAME", ""."""
    found = re.fullmatch(r"((?:smos|smos_kl|smos_released)\()(.+)(\))", algorithm)
    return (found[1], found[2], found[3]) if found else ("", algorithm, "")


def _grounding_weight(given: float | None, algorithm: str) -> float:
    if given is not None:
        return given
    name = parts_of(algorithm)[0].removesuffix("(") or algorithm
    return RELEASED_WEIGHT if name in ("smos_released", "smos_kl") else 1.0
