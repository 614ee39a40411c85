"""What a run begins with: the networks of another run, or the generators of a model folder or of shipped weights."""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gen import weights
from gen.augan.networks import AUGANGenerator
from gen.augan.settings import AUGANSettings
from gen.errors import BadInput, BadSetting
from gen.provenance import portable_value
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.projected import STRIDE
from gen.training.settings import as_record, make_settings

PRESETS = Path(__file__).parent / "presets"

SIZES = ("load_height", "crop")
"""Settings that a model's training is a good default for, beside those that shape its networks."""

COUNTED = ("images_shown", "seconds", "core_seconds")
"""What is kept of how long a run was."""

A2B, B2A = "adverse_to_normal", "normal_to_adverse"


def is_run(start: Path) -> bool:
    """Whether `start` is a run directory with a checkpoint; if not, it is taken for a model."""
    return latest_checkpoint(start / "checkpoints") is not None


def find_model(start: Path) -> str:
    """The folder or hub id of the model. Raises `BadSetting` where there is neither a model nor a run."""
    try:
        return weights.resolve(start)
    except BadInput as error:
        raise BadSetting(f"start_from={start}: no checkpoint of a run lies there, and no model. {error}") from error


def network_settings(start: Path) -> dict[str, Any]:
    """The settings that the model's generators were shaped by. Raises `BadSetting` where there is no such model."""
    folder = find_model(start)
    try:
        config: Any = AUGANGenerator.load_config(folder, subfolder=A2B)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BadSetting(f"start_from={start}: its {A2B} cannot be loaded ({reason})") from error
    with torch.device("meta"):  # the shape alone; what an older config does not say has the default
        shape = AUGANGenerator.from_config(config).settings()  # pyright: ignore[reportAttributeAccessIssue]
    del shape["reconstruction"]  # decoders of training alone, which no model folder holds
    blocks = shape.pop("transfer_blocks")
    return shape | ({"transfer": True, "transfer_blocks": blocks} if blocks else {"transfer": False})


def size_settings(start: Path) -> dict[str, Any]:
    """The sizes that the model was trained at, where its record lies beside it."""
    record = Path(find_model(start)) / "training.json"
    settings = json.loads(record.read_text())["settings"] if record.is_file() else {}
    sizes = {name: settings[name] for name in SIZES if name in settings}
    if "crop" in sizes:  # whatever judges this run has, they can take it
        sizes["crop"] = [side // STRIDE * STRIDE for side in sizes["crop"]]
    return sizes


def inherited(start: Path) -> dict[str, Any]:
    """What a run hands on from where it starts, a run or a model.

    `history`: every run before, the first one first, with its settings, images_shown, seconds and core_seconds;
    `feature_networks`: spaces that any of them looked through, and that so decide nothing; `weathers`, `auto_height`:
    what a model says of itself.
    """
    said: dict[str, Any]
    if is_run(start):
        checkpoint = latest_checkpoint(start / "checkpoints")
        record = load_checkpoint(checkpoint) if checkpoint else {}
        extra = record.get("extra", {})
        said = extra.get("inherited", {}) | {"feature_networks": extra.get("feature_networks", [])}
    else:
        folder = Path(find_model(start))
        record, index = _json(folder / "training.json"), _json(folder / "model_index.json")
        said = {name: index.get(name) for name in ("weathers", "auto_height")}
        said |= {name: record.get(name, []) for name in ("history", "feature_networks")}
    return said | {"history": [*said.get("history", []), *([summary(record)] if record else [])]}


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a run, from its checkpoint or from the record of its model."""
    hidden = ("adverse", "normal", "out")
    settings = {name: portable_value(value) for name, value in record["settings"].items() if name not in hidden}
    return {"settings": settings, **{name: record.get(name) or 0 for name in COUNTED}}


def _json(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def load_generators(start: Path, a2b: AUGANGenerator, b2a: AUGANGenerator) -> None:
    """Give both generators the model's weights; their reconstruction decoders, which no model folder holds, stay.

    Raises `BadSetting` for a model of another shape, or without both directions.
    """
    folder = find_model(start)
    for name, own in ((A2B, a2b), (B2A, b2a)):
        try:
            model = AUGANGenerator.from_pretrained(folder, subfolder=name, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise BadSetting(f"start_from={start}: its {name}, which is needed, cannot be loaded ({reason})") from error
        theirs = model.settings()
        for setting, value in own.settings().items():
            if setting != "reconstruction" and theirs[setting] != value:
                raise BadSetting(f"{setting}: {theirs[setting]!r} in start_from={start}, {name}, but {value!r} here.")
        own.load_state_dict({**own.state_dict(), **model.state_dict()})


def choose_settings(preset: Mapping[str, Any], given: Mapping[str, Any]) -> AUGANSettings:
    """Settings from a preset and from what was `given`; between them, what a model to start from was trained with.

    A run that goes on has its own record for that: the model may be gone, or another. Raises `BadSetting` for a wrong
    setting, and where `given` contradicts the model's networks.
    """
    settings = make_settings(AUGANSettings, preset, given)
    start = settings.start_from
    if start is None or is_run(start):
        return settings
    if latest_checkpoint(settings.out / "checkpoints"):
        return make_settings(AUGANSettings, preset, _recorded_networks(settings.out), given)
    networks = network_settings(start)
    settings = make_settings(AUGANSettings, preset, size_settings(start), networks, given)
    for name, value in as_record(settings).items():
        if name in networks and value != networks[name]:
            raise BadSetting(
                f"{name}: the networks of {start} have {networks[name]!r}, not {value!r}; leave this setting out to "
                f"fine-tune them, or leave start_from out to train others."
            )
    return settings


def _recorded_networks(out: Path) -> dict[str, Any]:
    """What shapes the networks of the run in `out`, and its sizes."""
    shaping = {*inspect.signature(AUGANGenerator).parameters, "transfer", *SIZES} - {"reconstruction"}
    record = json.loads((out / "settings.json").read_text())["settings"]
    return {name: value for name, value in record.items() if name in shaping}
