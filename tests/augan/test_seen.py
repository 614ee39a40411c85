"""Which frames of a measurement the training of its models used."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from gen.augan.arguments import EvaluateSettings
from gen.augan.seen import is_unknown, notes, seen_by, trained_on, used_in_training, warnings
from gen.training.data import folder_name


def test_folders_that_training_used_too_are_named(tmp_path: Path) -> None:
    night, day = tmp_path / "train" / "night", tmp_path / "val" / "day"
    data = {"adverse": {"folder": folder_name(night)}, "classes": ["of another record"]}
    (tmp_path / "training.json").write_text(json.dumps({"data": data}))
    settings = EvaluateSettings(adverse=night, normal=day, model="mine")
    assert trained_on(settings, tmp_path) == ["adverse"]
    assert trained_on(settings, tmp_path / "nothing") == []
    history = {"history": [{"folders": [folder_name(day)]}, 3], "data": data}  # of the model that it started from
    (tmp_path / "training.json").write_text(json.dumps(history))
    assert trained_on(settings, tmp_path) == ["adverse", "normal"]
    # Folders are read with their sub-folders, in training as in a measurement.
    (night / "rain").mkdir(parents=True)
    day.mkdir(parents=True)
    for folder in (night / "rain", tmp_path / "train"):
        assert "adverse" in trained_on(dataclasses.replace(settings, adverse=folder), tmp_path)


def trained(model: Path, *folders: Path, **more: Any) -> Path:
    """A model folder whose record names these folders."""
    model.mkdir()
    data = {str(number): {"folder": folder_name(folder)} for number, folder in enumerate(folders)}
    (model / "training.json").write_text(json.dumps({"data": data} | more))
    return model


def test_rows_of_other_models_are_marked_as_the_model_is(tmp_path: Path) -> None:
    night, elsewhere = tmp_path / "night", tmp_path / "elsewhere"
    models = {
        "baseline": tmp_path / "of another tool",
        "model": trained(tmp_path / "model", elsewhere),
        "near": trained(tmp_path / "near", night),
    }
    entries = seen_by(EvaluateSettings(adverse=night, normal=tmp_path / "day", model="mine"), models)
    assert entries == {"others_trained_on": {"near": ["adverse"]}, "training_unknown": ["baseline"]}
    seen, unknown = notes(entries, {"baseline": "symmetric baseline"})
    assert seen.startswith("The training of near used the folders adverse of this measurement too")
    assert "for: symmetric baseline;" in unknown
    assert [warning.partition(":")[0] for warning in warnings(entries)] == ["adverse", "baseline"]


def test_records_that_leave_out_a_part_of_the_training_are_unknown(tmp_path: Path) -> None:
    """Earlier versions named no folders in the history, and a foreign start may have no record at all."""
    frames, start = tmp_path / "frames", {"start_from": "foreign"}
    assert not is_unknown(trained(tmp_path / "whole", frames, history=[{"folders": ["more/frames"]}], settings=start))
    assert is_unknown(trained(tmp_path / "older", frames, history=[{"images_shown": 9}]))
    assert is_unknown(trained(tmp_path / "foreign", frames, history=[], settings=start))
    assert is_unknown(trained(tmp_path / "nothing"))
    said = [used_in_training(r) for r in ({"trained_on": ["rendered"]}, {"training_unknown": ["model"]}, {})]
    assert said == ["used", "perhaps used", "not used"]
