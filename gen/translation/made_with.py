"""What a translation was made with, as reports and marks say it: model, direction, settings and weights."""

import functools
import hashlib
import json
import os
import re
from pathlib import Path

from gen import weights
from gen.errors import BadInput
from gen.formats.json_files import json_if_whole
from gen.media.folders import Job
from gen.media.mark import Mark, source_id
from gen.provenance import fingerprint
from gen.translation.precision import precision_of
from gen.translation.settings import TranslateSettings, encoding_options, parse_resolution

RECORDS = ("training.json", "evaluation.json")
"""JSON files of a model folder that tell of the model. They change when it is measured, and it stays the same."""

BF16 = ", bf16"
"""The part of `made_with` for the precision; none for fp32."""


def made_with(settings: TranslateSettings, kind: str) -> str:
    """What the translation of a file of this kind depends on."""
    more = BF16 if precision_of(settings) == "bf16" else ""
    more += metadata_removed(settings)
    digest = weights_id(settings.model)
    return _made_with(settings, kind, _width_by_height(settings)) + more + (f", weights {digest}" if digest else "")


def metadata_removed(settings: TranslateSettings) -> str:
    """The part of `made_with` for `strip_metadata`."""
    return ", metadata removed" if settings.strip_metadata else ""


def mark_of(job: Job, settings: TranslateSettings) -> str:
    """The mark for the metadata of the job's outputs. It names the model, but not the folder that it lies in."""
    made = made_with(settings, job.kind)
    text = f"{weights.name_of(settings.model)}{made.removeprefix(_given(settings.model))}"
    return Mark(text, source_id(job.stamp) if job.stamp else None).text()


def _width_by_height(settings: TranslateSettings) -> str:
    size = parse_resolution(settings.resolution)
    return f"{size[1]} wide {size[0]} high" if isinstance(size, tuple) else settings.resolution


def _height_by_width(settings: TranslateSettings) -> str:
    """As reports gave explicit sizes up to version 0.1."""
    size = parse_resolution(settings.resolution)
    return "x".join(map(str, size)) if isinstance(size, tuple) else settings.resolution


def _made_with(settings: TranslateSettings, kind: str, resolution: str) -> str:
    which = "" if settings.which_map == "auto" else f", map {settings.which_map}"
    clip = f", smooth {settings.smooth:g}, steady {settings.steady:g}" if kind == "clip" else ""
    more = clip + encoding_options(settings, kind)
    return f"{_given(settings.model)}, {settings.direction}, resolution {resolution}{which}{more}"


def _given(model: str) -> str:
    """The model as it is given; a folder without a name, `.` or `..`, by its absolute path."""
    return model if Path(model).name not in ("", "..") else os.path.abspath(model)


@functools.cache
def weights_id(model: str) -> str | None:
    """`present_weights_id` as this run has first seen it: a run loads a model once too. See `forget_weights`."""
    return present_weights_id(model)


def present_weights_id(model: str) -> str | None:
    """16 hex digits for a model's weights and configuration, wherever its folder lies; downloads those of a hub id.

    None for a model that cannot be found, or that has no weights of its own.
    """
    try:
        folder = weights.fetch(model)
    except BadInput:
        return None
    files = [*folder.rglob("*.safetensors"), *_configurations(folder)]
    stats = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files))
    return _weights_id(folder, stats) if any(file.suffix == ".safetensors" for file in files) else None


def forget_weights() -> None:
    """Look at the weights again, which may have been trained further."""
    weights_id.cache_clear()


@functools.lru_cache(maxsize=16)
def _weights_id(folder: Path, stats: object) -> str:
    """Reads the folder again only if `stats`, the sizes and times of its files, has changed."""
    digest = hashlib.sha256(fingerprint(folder).encode())
    for file in _configurations(folder):
        # Without the notes of libraries: their version, where the model was loaded from. Damaged files that nothing
        # reads, such as the `._config.json` of macOS, are left out.
        config = {key: value for key, value in json_if_whole(file).items() if not key.startswith("_")}
        digest.update(json.dumps([file.name, config], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def _configurations(folder: Path) -> list[Path]:
    """The JSON files that a model is loaded by."""
    return sorted(file for file in folder.rglob("*.json") if file.name not in RECORDS)


_PARTS = re.compile(
    r"(?P<model>.*), (?P<rest>(?:adverse_to_normal|normal_to_adverse)\b.*?)(?P<weights>, weights \w+)?", re.S
)


def same_made_with(recorded: str, settings: TranslateSettings, kind: str, old: bool = False) -> bool:
    """Whether a report or a mark says that a file was made with what `settings` say.

    Models are compared by their weights or, where these are unknown, by name or folder. `old`: `recorded` is from a
    report of version 0.1, which names neither weights nor all settings.
    """
    wanted = made_with(settings, kind)
    if settings.precision == "auto":
        recorded, wanted = recorded.replace(BF16, ""), wanted.replace(BF16, "")
    found, wanted = _PARTS.fullmatch(recorded), _PARTS.fullmatch(wanted)
    if found is None or wanted is None:
        return False
    if found["weights"] is not None:
        return (found["rest"], found["weights"]) == (wanted["rest"], wanted["weights"])
    names = [_made_with(settings, kind, size(settings)) for size in (_width_by_height, _height_by_width)]
    rests = [name.removeprefix(f"{_given(settings.model)}, ") for name in names] if old else [wanted["rest"]]
    return found["rest"] in rests and _same_model(found["model"], settings.model)


def same_text(one: str, other: str) -> bool:
    """Whether two texts of reports or marks name the same weights and settings, whatever the model is called."""
    found = [_PARTS.fullmatch(text) for text in (one, other)]
    named = [(part["rest"], part["weights"]) for part in found if part is not None and part["weights"] is not None]
    return one == other or (len(named) == 2 and named[0] == named[1])


def _same_model(one: str, other: str) -> bool:
    """Whether two names or folders lead to one model."""
    if one == other:
        return True
    try:
        return os.path.samefile(weights.resolve(one), weights.resolve(other))
    except (BadInput, OSError):
        return False
