"""Start a run from the networks of another run, or from the generators of a model folder or shipped weights."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from gen import weights
from gen.augan.networks import AUGANGenerator
from gen.augan.settings import AUGANSettings
from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import read_json
from gen.formats.model_folders import builder, load_network, read_config
from gen.loading import loading
from gen.provenance import portable_value
from gen.training.checkpoints import latest_checkpoint, load_last_good
from gen.training.data_record import LINKED
from gen.training.projected import STRIDE
from gen.training.settings import as_record, make_settings, read_record
from gen.training.streets import STREETS

S = TypeVar("S", bound=AUGANSettings)

SIZES = ("load_height", "crop")
"""Settings taken from a model's training as defaults, besides the architecture of its networks."""

LENGTHS = ("images_shown", "seconds", "core_seconds")
"""Entries of a run's record on its length that are kept in the history."""

FOLDERS = "folders"
"""Entry of the history: names of the folders of frames that a run was trained on. Earlier versions wrote none."""

A2B, B2A = "adverse_to_normal", "normal_to_adverse"


def is_run(start: Path) -> bool:
    """Whether `start` is a run directory with a checkpoint; otherwise it must be a model."""
    return latest_checkpoint(start / "checkpoints") is not None


def find_model(start: Path) -> str:
    """The folder or hub id of the model. Raises `BadSetting` if `start` is neither a model nor a run."""
    try:
        return weights.resolve(start)
    except BadInput as error:
        raise BadSetting(
            f"start_from: {start} is neither a run directory with a checkpoint nor a model. {error}"
        ) from error


def network_settings(start: Path) -> dict[str, Any]:
    """The architecture settings of the model's generators. Raises `BadSetting` if there is no such model."""
    folder = find_model(start)
    file = Path(folder) / A2B / weights.CONFIG
    try:
        with torch.device("meta"):  # architecture only; settings missing from an older config get their defaults
            shape = builder(AUGANGenerator, file, read_config(file))().settings()
    except BadInput as error:
        raise BadSetting(f"start_from: {A2B} of {start} cannot be loaded ({error}).") from error
    del shape["reconstruction"]  # model folders never hold reconstruction decoders
    blocks = shape.pop("transfer_blocks")
    return shape | ({"transfer": True, "transfer_blocks": blocks} if blocks else {"transfer": False})


def size_settings(start: Path) -> dict[str, Any]:
    """The model's training sizes; empty if it has no training.json."""
    settings = _record(Path(find_model(start)) / "training.json").get("settings", {})
    sizes = {name: settings[name] for name in SIZES if name in settings}
    crop = sizes.get("crop")
    if isinstance(crop, list) and all(isinstance(side, int) for side in crop):  # others are refused as a setting
        # Rounded down to suit any discriminators of this run.
        sizes["crop"] = [side // STRIDE * STRIDE for side in crop]
    return sizes


def inherited(start: Path) -> dict[str, Any]:
    """Records that a run inherits from its start, a run or a model.

    `history`: all earlier runs in order, with their settings, images_shown, seconds and core_seconds;
    `feature_networks`: feature spaces used in any of their trainings, which are no fair measures; `weathers`,
    `auto_height`: those of the model.
    """
    said: dict[str, Any]
    if is_run(start):
        found = load_last_good(start / "checkpoints")
        record = found.state if found else {}
        extra = record.get("extra", {})
        said = extra.get("inherited", {}) | {"feature_networks": extra.get("feature_networks", [])}
    else:
        folder = Path(find_model(start))
        record, index = _record(folder / "training.json"), weights.read_index(folder)
        said = {name: index.get(name) for name in ("weathers", "auto_height")}
        said |= {name: record.get(name, []) for name in ("history", "feature_networks")}
    return said | {"history": [*said.get("history", []), *([summary(record)] if record else [])]}


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the history, from a run's checkpoint or from the training.json of its model."""
    hidden = ("adverse", "normal", "out")
    settings = {name: portable_value(value) for name, value in record.get("settings", {}).items() if name not in hidden}
    lengths = {name: record.get(name) or 0 for name in LENGTHS}
    shown = recorded_streets(record)
    return {"settings": settings, **lengths, FOLDERS: folders_of(record)} | ({STREETS: shown} if shown else {})


def folders_of(record: Mapping[str, Any]) -> list[str]:
    """The folders of frames, and those that they are linked from, that a run's checkpoint or a model's training.json
    names; either may be damaged."""
    return sorted(whole_folders_of(record).union(*(weights.texts(e.get(LINKED)) for e in _entries(record))))


def whole_folders_of(record: Mapping[str, Any]) -> set[str]:
    """The same without those that frames are linked from, of which training need not have used every frame."""
    return {str(entry["folder"]) for entry in _entries(record) if "folder" in entry}


def recorded_streets(record: Mapping[str, Any]) -> list[Any]:
    """The streets that a run's checkpoint or a model's training.json names, as `streets_of` gives them."""
    lists = [entry.get(STREETS) for entry in _entries(record)]
    return [row for rows in lists if isinstance(rows, list) for row in rows]


def _entries(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    data = record.get("data")
    return [entry for entry in data.values() if isinstance(entry, dict)] if isinstance(data, dict) else []


def _record(file: Path) -> dict[str, Any]:
    """The training.json of a model, which may come from elsewhere; {} if there is none. Raises `BadInput`."""
    record = read_json(file) if file.is_file() else {}
    wanted = {"settings": dict, "history": list, "feature_networks": list, **dict.fromkeys(LENGTHS, int | float | None)}
    for name in record.keys() & wanted.keys():
        if not isinstance(record[name], wanted[name]):
            raise BadInput(f"{file}: {name} is {short(repr(record[name]))}, which gen did not write.")
    return record


@loading
def load_generators(start: Path, a2b: AUGANGenerator, b2a: AUGANGenerator) -> None:
    """Load the model's weights into both generators, except the reconstruction decoders, which models do not have.

    Raises `BadSetting` for a model of another architecture, or without both directions.
    """
    folder = find_model(start)
    for name, own in ((A2B, a2b), (B2A, b2a)):
        try:
            model = load_network(AUGANGenerator, Path(folder) / name)
        except BadInput as error:
            raise BadSetting(f"start_from: {name} of {start} is needed, but cannot be loaded ({error}).") from error
        theirs = model.settings()
        for setting, value in own.settings().items():
            if setting != "reconstruction" and theirs[setting] != value:
                raise BadSetting(
                    f"{setting}: must be {theirs[setting]!r}, as in {name} of start_from {start}, not {value!r}."
                )
        own.load_state_dict({**own.state_dict(), **model.state_dict()})


def choose_settings(preset: str, given: Mapping[str, Any], kind: type[S] = AUGANSettings) -> S:
    """Settings in increasing priority: the preset's, those of the model to start from, and `given`.

    A resumed run uses its own record instead of the model's, because the model may have been deleted or replaced.
    Raises `BadSetting` for an invalid setting, and if `given` contradicts the architecture of the model.
    """
    values, given = kind.read_preset(preset), {"preset": preset, **given}
    settings = make_settings(kind, values, given)
    start = settings.start_from
    if start is None or is_run(start):
        return settings
    if recorded := _recorded_networks(settings.out):
        return make_settings(kind, values, recorded, given)
    networks = network_settings(start)
    settings = make_settings(kind, values, size_settings(start), networks, given)
    for name, value in as_record(settings).items():
        if name in networks and value != networks[name]:
            raise BadSetting(
                f"{name}: must be {networks[name]!r}, as in start_from {start}, not {value!r}; leave this setting out "
                f"to fine-tune that model, or leave start_from out to train another one."
            )
    return settings


def _recorded_networks(out: Path) -> dict[str, Any]:
    """The architecture and size settings of the run in `out`; empty if it has no usable checkpoint."""
    if latest_checkpoint(out / "checkpoints") is None:
        return {}
    names = {*inspect.signature(AUGANGenerator).parameters, "transfer", *SIZES} - {"reconstruction"}
    record = read_record(out)
    if record is None:  # the checkpoint has the same settings, but takes longer to load
        found = load_last_good(out / "checkpoints")
        record = found.state if found else {}
    return {name: value for name, value in record.get("settings", {}).items() if name in names}
