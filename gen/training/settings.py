"""Settings of a training run: a frozen dataclass, filled from a YAML preset and from name=value pairs.

Nothing heavy is imported here, so that commands can read settings before torch is loaded.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from gen.checked import Checked, check_finite, check_no_booleans, checked, readable
from gen.device_names import Device
from gen.errors import BadInput, BadSetting, short, unknown
from gen.formats.json_files import json_if_whole
from gen.formats.yaml_files import read_yaml
from gen.seeds import SEEDS

T = TypeVar("T")

RECORD = "settings.json"
"""File in a run directory with the settings and the data of the run."""

Positive = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
Batch = Annotated[int, Field(ge=1, le=100_000)]
"""Bounded, because a list of a step's samples takes memory before the first picture does."""


class Preset(str):
    """Name of a preset whose settings were read; only `make_settings` makes one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerSettings(Checked):
    """What every training run has. In Python, `from_preset` makes one of a preset and of what differs from it.

    Progress is counted in images shown and not in steps, so that batch size and number of devices do not change the
    schedule. A trainer's own settings inherit this class after `ImagesOrEpochs` and `EMASettings`, where it uses them.
    """

    presets: ClassVar[Path | None] = None
    """Folder of this trainer's presets, NAME.yaml; None: it has none."""

    preset: str = "none"
    """Name of the preset that the settings are based on. It is not read from here: use `from_preset`, or --preset."""
    out: Path
    """Run directory: settings, metrics, samples, checkpoints."""
    seed: Annotated[int, Field(ge=0, lt=SEEDS)] = 0
    """Random seed."""
    batch: Batch = 8
    """Images of each domain in one optimiser step, over all devices and accumulation steps."""
    accumulate: Positive = 1
    """Gradient accumulation: split each step into this many parts to save memory."""
    lr: PositiveFloat = 2e-4
    """Adam's learning rate; constant until `decay` sets in."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Last share of the run in which the learning rate falls linearly to zero; 0: constant, for a run without a
    fixed end."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16: mixed precision, with weights, losses and norm statistics in float32; auto: bf16 if a short measurement at
    the start finds it faster; a run that is resumed on such a machine keeps what it had. On a processor without bf16
    instructions, bf16 is many times slower."""
    channels_last: bool = True
    """Store weights and activations channels-last, which is faster on GPUs."""
    compile: bool = False
    """Compile the networks with torch.compile: a minute or two at the start, then faster steps."""
    log_every: Positive = 100
    """Images between two lines of metrics."""
    sample_every: Positive = 2000
    """Images between two sample grids."""
    checkpoint_every: Positive = 2000
    """Images between two checkpoints."""
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Seconds between two checkpoints, at least, for a GPU that shows `checkpoint_every` images in no time."""
    device: Device = "auto"
    """auto: the GPU if there is one; cuda:1: the second GPU."""
    strict: bool = False
    """Stop with an error if an image cannot be used, instead of leaving it out."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {
            "preset",
            "out",
            "device",
            "log_every",
            "sample_every",
            "checkpoint_every",
            "checkpoint_seconds",
            "accumulate",
            "compile",
            "strict",
            "precision",
        }
    ) | {"images", "epochs", "core_minutes", "decay"}
    """Settings that may change when a run is resumed: those that affect the weights by rounding at most, and the length
    of the run with its schedule, so that a finished run can be continued."""
    of_the_end: ClassVar[frozenset[str]] = frozenset({"decay"})
    """Those of them that may not change in a run that has ended, unless it goes on."""

    def __post_init__(self) -> None:
        preset = self.preset
        super().__post_init__()
        if preset != "none" and not isinstance(preset, Preset):
            kind = type(self).__name__
            raise BadSetting(
                f"preset: to use the settings of preset {preset}, write {kind}.from_preset({preset!r}, ...)."
            )
        object.__setattr__(self, "preset", preset)  # the check has made plain text of it

    @classmethod
    def from_preset(cls, preset: str, **given: Any) -> Self:
        """The settings of a preset, with those `given` in place of its own; strings become paths and numbers.

        Raises `BadSetting` for an unknown preset or setting, for a wrong value, and for two lengths.
        """
        check_one_length(given, ("images", "epochs"))
        return make_settings(cls, cls.read_preset(preset), {"preset": preset, **given})

    @classmethod
    def comparable(cls, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """A record as it is compared with another one: what earlier versions wrote otherwise is written as today."""
        return record

    @classmethod
    def preset_names(cls) -> list[str]:
        """The presets of this trainer."""
        return sorted(file.stem for file in cls.presets.glob("*.yaml")) if cls.presets else []

    @classmethod
    def read_preset(cls, preset: str) -> dict[str, Any]:
        """What the preset sets. Raises `BadSetting` if there is no such preset."""
        if cls.presets is None or preset not in cls.preset_names():
            raise BadSetting(unknown("preset", preset, cls.preset_names()))
        return read_preset(cls.presets / f"{preset}.yaml")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TimeLimit:
    """For a trainer that can end after some processor time instead of a number of images."""

    core_minutes: PositiveFloat | None = None
    """End after this much processor time, summed over all threads, instead of after a number of images. Use it to
    compare recipes at equal cost."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagesOrEpochs(TimeLimit):
    """For a trainer whose length is given in images or in epochs.

    Where both are there, as in records of runs, `images` is the length; see `make_settings` for presets.
    """

    images: Positive | None = None
    """Training images to show, of each domain. Default: `epochs` of the smallest domain."""
    epochs: PositiveFloat = 20.0
    """Length of the run in epochs of the smallest domain, if `images` is not given; goes before a preset's `images`."""

    def images_to_show(self, smallest: int) -> int:
        """Length of the run in images; `smallest`: images in the smallest domain."""
        return self.images if self.images is not None else round(self.epochs * smallest)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EMASettings:
    """For a trainer that averages weights, see gen/training/ema.py."""

    ema_half_life: Positive = 1000
    """Half-life of the averaged weights (EMA), in images."""
    ema_ramp: PositiveFloat | None = None
    """EMA half-life at the start, as a share of the images shown so far; null: `ema_half_life` from the first step."""


ONCE_EVERYWHERE = frozenset({"images", "epochs", "core_minutes", "ema_half_life", "ema_ramp"})
"""Settings that every trainer had in earlier versions, even if it did not use them; old records still have them."""


def make_settings(kind: type[T], *layers: Mapping[str, Any]) -> T:
    """A `kind` from mappings; later ones override earlier ones, and strings are converted to the fields' types.

    `epochs` in a mapping also override `images` in an earlier one, and its default. Raises `BadSetting` naming the
    setting that is unknown, missing or wrong.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if issubclass(kind, ImagesOrEpochs) and layer.get("epochs") is not None:
            merged["images"] = None  # unless this layer has both, as records of runs do
        merged |= layer
    known = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    for name in sorted(merged.keys() - known):
        raise BadSetting(unknown("setting", name, sorted(known)))
    preset = merged.pop("preset", None)
    try:
        settings = TypeAdapter(kind).validate_python(merged)
    except ValidationError as error:
        raise readable(error) from error
    check_finite(vars(settings))
    check_no_booleans(merged, vars(settings))
    if preset is not None:
        object.__setattr__(settings, "preset", Preset(checked(kind, "preset", preset)))
    return settings


def check_overrides(kind: type, overrides: Mapping[str, Any]) -> None:
    """Raises `BadSetting` for an override that is no setting of `kind` or has a wrong value, whatever else is given.

    And for several lengths: only one of them would have an effect.
    """
    known = sorted(field.name for field in dataclasses.fields(kind))
    for name, value in overrides.items():
        if name not in known:
            raise BadSetting(unknown("setting", name, known))
        if name == "preset":
            raise BadSetting(f"--set preset={value}: choose a preset with --preset NAME.")
        checked(kind, name, value)
    check_one_length(overrides, ("images", "epochs", "steps", "core_minutes"))


def check_one_length(given: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises `BadSetting` if more than one of `names` is given, each a length of the run; null is none."""
    lengths = [name for name in names if given.get(name) is not None]
    if len(lengths) > 1:
        raise BadSetting(f"{lengths[0]} and {lengths[1]} are both given; give one.")


def read_preset(path: Path) -> dict[str, Any]:
    """The mapping in a YAML preset. Raises `BadInput` if it holds anything else."""
    preset = read_yaml(path)
    if not isinstance(preset, dict):
        raise BadInput(f"{path}: expected settings, one a line, for example `lr: 1e-4`.")
    return preset


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """["lr=1e-4", "crop=[128,224]"] -> {"lr": 1e-4, "crop": [128, 224]}.

    A value is read as JSON, or kept as a string if it is not JSON. Raises `BadSetting` for a pair without "=".
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadSetting(f"{short(pair)}: write a setting as name=value, for example lr=1e-4.")
        try:
            overrides[name.strip()] = json.loads(value)
        except (
            ValueError,
            RecursionError,
        ):  # JSON and not YAML: YAML reads `off` as a boolean, but it is a choice here
            overrides[name.strip()] = value.strip()
    return overrides


def as_record(settings: Any) -> dict[str, Any]:
    """The settings as JSON values, for settings.json and checkpoints."""
    return _jsonable(dataclasses.asdict(settings))


def _jsonable(values: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=str))


def read_record(out: Path) -> dict[str, Any] | None:
    """The record settings.json of the run in `out`; None if there is none, or it is damaged."""
    record = json_if_whole(out / RECORD)
    return record if isinstance(record.get("settings"), dict) else None


def check_same_settings(old: Mapping[str, Any], settings: TrainerSettings, may_change: Set[str]) -> None:
    """Raises `BadSetting` if a run recorded with `old` settings cannot be resumed with `settings`.

    Names in `may_change` may differ. Old and new versions of a trainer have different fields: a field that the record
    lacks is taken to have had its default, and one of `ONCE_EVERYWHERE` that the trainer lacks now is ignored.
    """
    fields = dataclasses.fields(settings)
    defaults = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    ignored = ONCE_EVERYWHERE - {f.name for f in fields}
    recorded = {name: value for name, value in old.items() if name not in ignored}
    for name in sorted(recorded.keys() - {f.name for f in fields} - may_change):
        if recorded[name] is not None:
            raise BadSetting(
                f"{name}: this run was begun by another method or version of gen, which had this setting "
                f"({recorded[name]!r}); continue it with that one, or choose another output folder."
            )
    before, now = {**_jsonable(defaults), **recorded}, as_record(settings)
    check_same_run(settings.comparable(before), settings.comparable(now), may_change)


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], may_change: Set[str] = frozenset()) -> None:
    """Raises `BadSetting` for the first value, except those in `may_change`, that differs from the record of a run."""
    difference = _first_difference(old, new, may_change)
    if difference is not None:
        name, before, now = difference
        raise BadSetting(
            f"{name} was {before!r} when this run began and is {now!r} now; change it back to resume, or choose "
            f"another output folder."
        )


def _first_difference(
    old: Mapping[str, Any], new: Mapping[str, Any], may_change: Set[str] = frozenset(), prefix: str = ""
) -> tuple[str, Any, Any] | None:
    """Name, old and new value of the first difference, in order of name; inside mappings as OUTER.INNER."""
    for name in sorted(old.keys() | new.keys()):
        before, now = old.get(name), new.get(name)
        if name in may_change or before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            return _first_difference(before, now, prefix=f"{prefix}{name}.")
        return prefix + name, before, now
    return None
