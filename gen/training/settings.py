"""Settings of a training run: a frozen dataclass, filled from a YAML preset and from field=value pairs."""

import dataclasses
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from gen.errors import BadSetting

T = TypeVar("T")

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """What every training run has. Progress is counted in images shown, whatever the batch and the devices."""

    preset: str = "none"
    """Name of the preset that the settings began with."""
    out: Path
    """Run directory: settings, metrics, samples, checkpoints."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random."""
    images: Positive | None = None
    """Training images to show a domain (pairs); none: `epochs` times the smaller domain."""
    epochs: PositiveFloat = 20.0
    """Length of the run where `images` is not given, in epochs of the smaller domain."""
    core_minutes: PositiveFloat | None = None
    """End after so much processor time, of all threads, whatever the images: to compare recipes at equal cost."""
    batch: Positive = 8
    """Images of each domain in one optimiser step, over all devices and accumulation steps."""
    accumulate: Positive = 1
    """Parts a step is done in to save memory; gradients are added up over them."""
    lr: PositiveFloat = 2e-4
    """Adam's learning rate; constant until `decay` sets in."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Last share of the run in which the learning rate falls linearly to zero; 0, for a run whose end is not known:
    it stays."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16: mixed precision, with weights, losses and norm statistics in float32; auto: bf16 where it is faster,
    which is measured at the start, because a processor without instructions for it takes many times as long."""
    channels_last: bool = True
    """Memory layout of the activations."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute or two at the start, then faster steps."""
    ema_half_life: Positive = 1000
    """Images after which a weight's share in the averaged weights has halved."""
    ema_ramp: PositiveFloat | None = None
    """Half-life at the start, as a share of the images shown so far; none: `ema_half_life` from the first step."""
    log_every: Positive = 100
    """Images between two lines of metrics."""
    sample_every: Positive = 2000
    """Images between two sample grids."""
    checkpoint_every: Positive = 2000
    """Images between two checkpoints."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: the GPU where there is one."""
    strict: bool = False
    """Refuse a folder with pictures that cannot be used, instead of leaving them out."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {
            "preset",
            "out",
            "device",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "accumulate",
            "compile",
            "strict",
            "precision",
        }
    ) | {"images", "epochs", "core_minutes", "decay"}
    """What a resumed run may change: what its weights do not depend on (but for rounding), and its length with the
    schedule that follows from it, so that a finished run can be lengthened."""


def make_settings(kind: type[T], *layers: Mapping[str, Any]) -> T:
    """A `kind` from mappings, later ones winning; strings are converted. Raises `BadSetting` naming the field."""
    merged = {key: value for layer in layers for key, value in layer.items()}
    known = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    for name in merged.keys() - known:
        raise BadSetting(f"{name}: there is no such setting; the settings are {', '.join(sorted(known))}.")
    try:
        return TypeAdapter(kind).validate_python(merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BadSetting(f"{name}: {first['msg']}, but it is {first['input']!r}.") from error


def read_preset(path: Path) -> dict[str, Any]:
    """The mapping in a YAML preset."""
    return yaml.safe_load(path.read_text())


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """["lr=1e-4", "crop=[128,224]"] -> {"lr": 1e-4, "crop": [128, 224]}: JSON where it is JSON, else a string."""
    overrides: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadSetting(f"--set {pair}: a setting is given as field=value, for example --set lr=1e-4.")
        try:
            overrides[name.strip()] = json.loads(value)
        except json.JSONDecodeError:  # not YAML: there `off` is a boolean, and here it is a choice
            overrides[name.strip()] = value.strip()
    return overrides


def as_record(settings: Any) -> dict[str, Any]:
    """The settings as JSON-able values."""
    return _jsonable(dataclasses.asdict(settings))


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=str))


def check_same_settings(old: Mapping[str, Any], settings: Any, may_change: Set[str]) -> None:
    """Raises `BadSetting` when a run recorded with `old` settings cannot go on with these, other than in `may_change`.

    A setting that is younger than the record had its default's effect then.
    """
    fields = dataclasses.fields(settings)
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    check_same_run({**_jsonable(defaults), **old}, as_record(settings), may_change)


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], may_change: Set[str] = frozenset()) -> None:
    """Raises `BadSetting` when a resumed run would not be the run that was begun."""
    for name in sorted(old.keys() | new.keys()):
        if name not in may_change and old.get(name) != new.get(name):
            raise BadSetting(
                f"{name}: the run in this folder was begun with {old.get(name)!r}, not {new.get(name)!r}; "
                f"use the old value to go on with it, or another --out for a new run."
            )
