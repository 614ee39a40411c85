"""Which frames of a measurement the training of its models used, as far as their records tell."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gen import weights
from gen.augan.arguments import EvaluateSettings
from gen.augan.start import FOLDERS, folders_of, recorded_streets, whole_folders_of
from gen.formats.json_files import json_if_whole
from gen.media.folders import find_stills
from gen.training.frames import folder_name, origins
from gen.training.streets import STREETS, overlap, streets_of

Record = Mapping[str, Any]


def trained_on(settings: EvaluateSettings, model: Path) -> list[str]:
    """Names of the folders to measure on that the model's training used too, as far as its record tells."""
    return [name for name, folder in _measured(settings).items() if was_used(folder, model)]


def _measured(settings: EvaluateSettings) -> dict[str, Path]:
    folders = {"adverse": settings.adverse, "normal": settings.normal}
    return folders | ({"rendered": settings.rendered / "adverse"} if settings.rendered else {})


def was_used(folder: Path, model: Path) -> bool:
    """Whether the training.json of `model` names this folder of frames, one that it or a linked frame of it lies in, or
    one that lies in it.

    Or one of its streets: those of `gen render-street` with a near seed. The runs of the models that it started from
    count too; records of earlier versions do not name their folders.
    """
    record = json_if_whole(model / "training.json")
    used = {*folders_of(record), *(name for run in _runs_before(record) for name in weights.texts(run.get(FOLDERS)))}
    below = (Path(root) / name for root, folders, _ in os.walk(folder) for name in folders)
    if any(folder_name(near) in used for near in (folder, *folder.resolve().parents, *below)):
        return True
    places = origins(find_stills(folder, quiet=True), folder) if folder.is_dir() else ()  # of frames linked from there
    if any(folder_name(near) in whole_folders_of(record) for place in places for near in (place, *place.parents)):
        return True
    shown = _streets(folder)
    return any(overlap(shown, streets) for streets in (recorded_streets(record), *_streets_before(record)))


def is_unknown(folders: Iterable[Path], model: Path) -> bool:
    """Whether the model's record does not name all folders of its training: it has none, or is in part older.

    If `folders` to measure on show streets, also whether it does not name the streets that training used.
    """
    record = json_if_whole(model / "training.json")
    runs, settings = _runs_before(record), _settings(record)
    known = folders_of(record) and all(weights.texts(run.get(FOLDERS)) for run in runs)
    if not known or (settings.get("start_from") is not None and not runs):
        return True
    rendered = [(settings, recorded_streets(record)), *zip(map(_settings, runs), _streets_before(record), strict=True)]
    untold = any(own.get("rendered") is not None and not streets for own, streets in rendered)
    return untold and any(map(_streets, folders))


def _runs_before(record: Record) -> list[Record]:
    history = record.get("history")
    return [run for run in history if isinstance(run, dict)] if isinstance(history, list) else []


def _streets_before(record: Record) -> list[Any]:
    return [run.get(STREETS) for run in _runs_before(record)]


def _settings(record: Record) -> Record:
    settings = record.get("settings")
    return settings if isinstance(settings, dict) else {}


def _streets(folder: Path) -> list[list[int]]:
    return streets_of(find_stills(folder, quiet=True))


def seen_by(settings: EvaluateSettings, models: Mapping[str, Path]) -> dict[str, Any]:
    """Entries of `evaluation.json` on what training used; `models`: row name -> model folder, one of them "model".

    `trained_on`: by the evaluated model; `others_trained_on`: by other rows; `training_unknown`: rows whose record does
    not tell. Empty entries are left out.
    """
    seen = {name: trained_on(settings, model) for name, model in models.items()}
    folders = _measured(settings).values()
    entries = {
        "trained_on": seen["model"],
        "others_trained_on": {name: used for name, used in seen.items() if used and name != "model"},
        "training_unknown": [name for name, model in models.items() if not seen[name] and is_unknown(folders, model)],
    }
    return {name: entry for name, entry in entries.items() if entry}


def warnings(entries: Record) -> list[str]:
    """A sentence for each row, from the entries of `seen_by`, for those who run the measurement."""
    return [
        f"{', '.join(used)}: training{'' if name == 'model' else f' of {name}'} used frames or streets of this folder, "
        "so the figures are better than for new frames"
        for name, used in _seen(entries).items()
    ] + [
        f"{name}: its training.json does not name all folders and streets of its training, which may have these frames"
        for name in entries.get("training_unknown", ())
    ]


def _seen(evaluation: Record) -> dict[str, list[str]]:
    ours = {"model": evaluation["trained_on"]} if evaluation.get("trained_on") else {}
    return ours | evaluation.get("others_trained_on", {})


def notes(evaluation: Record, titles: Mapping[str, str]) -> list[str]:
    """The same for a model card. `titles`: row name -> the row's title in the tables, where that is another."""
    said = [SEEN.format(titles.get(name, name), " and ".join(used)) for name, used in _seen(evaluation).items()]
    if unknown := evaluation.get("training_unknown"):
        said.append(UNKNOWN.format(", ".join(titles.get(name, name) for name in unknown)))
    return said


def used_in_training(measured: Record) -> str:
    """Whether training used the rendered streets of a measurement, in words."""
    if "rendered" in measured.get("trained_on", ()):
        return "used"
    return "perhaps used" if "model" in measured.get("training_unknown", ()) else "not used"


SEEN = (
    "The training of {} used frames or streets of the folders {} of this measurement too, so its figures are better "
    "than those of frames that it has never seen."
)

UNKNOWN = (
    "It is unknown whether training used these frames for: {}; the record does not name all its folders and streets."
)
