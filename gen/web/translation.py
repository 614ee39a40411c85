"""The only module of gen.web that imports translation methods; the others import these names from here."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from gen import weights
from gen.augan.evaluation_record import FILE_NAME, read_evaluation
from gen.augan.verdict import in_short
from gen.errors import BadSetting
from gen.formats.json_files import json_if_whole
from gen.translation import registry
from gen.translation.commands import translate_files as translate
from gen.translation.made_with import present_weights_id
from gen.translation.maps import SCALES, MapScale
from gen.translation.network import PIXELS_AT_ONCE
from gen.translation.pipeline import TranslationPipeline
from gen.translation.precision import dtype_of
from gen.translation.registry import translators
from gen.translation.settings import AUTO, DIRECTIONS, FAST_MODEL, Direction, MapName, TranslateSettings, check_settings
from gen.translation.watch import Progress, Watch
from gen.translation.weathers import any_of, directions_of, rows_of, sentence, weathers_of

__all__ = [
    "AUTO",
    "DIRECTIONS",
    "FAST_MODEL",
    "LEGENDS",
    "PIXELS_AT_ONCE",
    "WEATHER_CLASSIFIER",
    "Direction",
    "MapName",
    "Pipeline",
    "Progress",
    "TranslateSettings",
    "Watch",
    "any_of",
    "check_translation",
    "directions_of",
    "load",
    "map_scale",
    "measured",
    "present_weights_id",
    "rows_of",
    "sentence",
    "size_setting",
    "translate",
    "translators",
    "uncertainty_map",
    "weathers_of",
]

Pipeline = TranslationPipeline
"""A loaded translation model."""
WEATHER_CLASSIFIER = "WeatherHead"
"""The kind of the model that `AUTO` looks at the weather with, as `weights.kind` returns it."""
LEGENDS: dict[MapName, tuple[str, str, str]] = {
    "invention": ("How much of each pixel is invented", "0 %", "100 %"),
    "cycle": ("Expected error of translating there and back, in grey levels", "13 or less", "128"),
}
"""For each map: what it shows, and the ends of its colour scale."""


def load(name: str, device: str) -> Pipeline:
    """The model of this name, ready to translate on `device`."""
    return registry.load(name, device, dtype_of(TranslateSettings(input=Path(), output=Path(), device=device)))


def measured(name: str, direction: str) -> str:
    """How well a model translates in a direction, as its evaluation says, in a few sentences."""
    file = Path(weights.resolve(name)) / FILE_NAME
    return _measured(name, direction, present_weights_id(name), file.stat().st_mtime_ns if file.is_file() else None)


@functools.cache
def _measured(name: str, direction: str, weights_id: str | None, measured_at: int | None) -> str:
    """Reads all weights to see whether they are those that were measured: only once for each."""
    evaluation = read_evaluation(Path(weights.resolve(name)))
    if evaluation is None or direction not in evaluation:
        return "This model has not been measured: look at its translations before you use them."
    return in_short(evaluation, direction)


def check_translation(settings: Mapping[str, Any]) -> None:
    """Raises `BadSetting` for settings of `TranslateSettings` that cannot work, before files are copied for a job."""
    model, direction = settings["model"], settings["direction"]
    kinds = get_args(get_type_hints(TranslateSettings)["uncertainty"])
    if (kind := settings.get("uncertainty", "none")) not in kinds:
        raise BadSetting(f"uncertainty must be {', '.join(kinds[:-1])} or {kinds[-1]}, not {kind!r}.")
    known = DIRECTIONS[:1] if model == AUTO else directions_of(model)
    if direction not in known:
        raise BadSetting(f"direction: {model} translates {' and '.join(known)}, not {direction!r}.")
    if kind != "none" and model != AUTO and not has_map(model, direction):
        raise BadSetting(f"uncertainty: {model} has no uncertainty map for {direction}; choose the translation alone.")
    check_settings(TranslateSettings(input=Path(), output=Path(), **settings))


def has_map(name: str, direction: str) -> bool:
    """Whether a model's translations in this direction come with a map, as its files say."""
    folder = weights.resolve(name)
    index = weights.read_index(folder)
    if direction != "adverse_to_normal" or "default_map" not in index:
        return False
    invention = (index.get("invention") or [None])[0] is not None
    return invention or bool(json_if_whole(Path(folder) / direction / weights.CONFIG).get("uncertainty", True))


def uncertainty_map(pipe: Pipeline, output: Any, direction: Direction) -> tuple[MapName, Any] | None:
    """The per-pixel map (H, W) of the first translated image, and which map it is; None where the model has none."""
    name = pipe.shown_map(direction)
    maps = output.invented if name == "invention" else output.uncertainty
    return None if name is None or maps is None else (name, maps[0])


def map_scale(name: MapName) -> MapScale:
    """The range of a map's values, for colours and for 16-bit files."""
    return SCALES[name]


def size_setting(height: int, width: int) -> str:
    """A size in pixels as `TranslateSettings.resolution` spells it."""
    return f"{width}x{height}"
