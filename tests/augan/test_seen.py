"""Which frames of a measurement the training of its models used."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gen.augan.arguments import EvaluateSettings
from gen.augan.seen import is_unknown, notes, seen_by, trained_on, used_in_training, warnings, was_used
from gen.augan.start import summary
from gen.training.data_record import check_same_data
from gen.training.frames import folder_name, load_frames

SAMPLES = Path(__file__).parents[2] / "samples"


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
    data = {str(number): {"folder": folder_name(folder)} for number, folder in enumerate(folders)}
    model.mkdir()
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
    assert seen.startswith("The training of near used frames or streets of the folders adverse of this measurement too")
    assert "for: symmetric baseline;" in unknown
    assert [warning.partition(":")[0] for warning in warnings(entries)] == ["adverse", "baseline"]


def test_records_that_leave_out_a_part_of_the_training_are_unknown(tmp_path: Path) -> None:
    """Earlier versions named no folders in the history, and a foreign start may have no record at all."""
    frames, start = tmp_path / "frames", {"start_from": "foreign"}
    assert not is_unknown(
        [], trained(tmp_path / "whole", frames, history=[{"folders": ["more/frames"]}], settings=start)
    )
    assert is_unknown([], trained(tmp_path / "older", frames, history=[{"images_shown": 9}]))
    assert is_unknown([], trained(tmp_path / "foreign", frames, history=[], settings=start))
    assert is_unknown([], trained(tmp_path / "nothing"))
    said = [used_in_training(r) for r in ({"trained_on": ["rendered"]}, {"training_unknown": ["model"]}, {})]
    assert said == ["used", "perhaps used", "not used"]


def test_streets_of_near_seeds_are_not_held_out(tmp_path: Path) -> None:
    """gen render-street numbers its streets on from the seed, so these two runs share the streets 12 and 13."""
    rendered, near, far = tmp_path / "rendered", tmp_path / "near", tmp_path / "far"
    for folder, numbers in ((rendered, range(10, 14)), (near, range(12, 16)), (far, range(15, 17))):
        for number in numbers:
            day = SAMPLES / "day" / f"{number:06d}.jpg"
            for part in ("adverse", "day"):
                (folder / part).mkdir(parents=True, exist_ok=True)
                (folder / part / f"{number}.jpg").symlink_to(day)  # another name: as gen compare-augan links frames
    frames = load_frames("adverse", rendered / "adverse", tmp_path / "cache", 36, (36, 36))
    record = {"data": {"rendered adverse": frames.summary()}, "settings": {"rendered": "rendered"}}
    assert record["data"]["rendered adverse"]["streets"] == [[10, 13]]
    model = trained(tmp_path / "model", **record)
    wanted = EvaluateSettings(adverse=SAMPLES / "day_real", normal=far / "day", model="mine", rendered=near)
    assert seen_by(wanted, {"model": model}) == {"trained_on": ["rendered"]}
    later = trained(tmp_path / "later", tmp_path / "photographs", history=[summary(record)])
    assert seen_by(wanted, {"model": later}) == {"trained_on": ["rendered"]}
    assert seen_by(dataclasses.replace(wanted, rendered=far), {"model": model}) == {}
    older = trained(tmp_path / "older", rendered, settings={"rendered": "rendered"})
    assert seen_by(wanted, {"model": older}) == {"training_unknown": ["model"]}
    assert seen_by(dataclasses.replace(wanted, normal=SAMPLES / "day_real", rendered=None), {"model": older}) == {}


def test_a_record_of_an_earlier_version_resumes_without_its_streets() -> None:
    before = {"adverse": {"folder": "a/b/c", "count": 4, "cached_size": [36, 64]}}
    assert check_same_data(before, {"adverse": before["adverse"] | {"streets": [[1, 4]]}}) == []


def test_the_folder_that_frames_were_linked_from_is_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("all/1", "all/2"):  # as `gen compare-augan` links frames, or a person who trains on several folders
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / name / "0.png")
    linked = tmp_path / "train" / "night"
    linked.mkdir(parents=True)
    (linked / "a.png").symlink_to(tmp_path / "all" / "1" / "0.png")
    record = load_frames("adverse", linked, tmp_path / "cache", 32, (32, 32)).summary()
    model = tmp_path / "model"
    model.mkdir()
    (model / "training.json").write_text(json.dumps({"settings": {}, "data": {"adverse": record}, "history": []}))
    used = [was_used(tmp_path / folder, model) for folder in ("train/night", "all", "all/1", "all/2")]
    assert used == [True, True, True, False]
    held = tmp_path / "hold"
    held.mkdir()
    (held / "a.png").symlink_to(tmp_path / "all" / "2" / "0.png")
    assert not was_used(held, model)
    (held / "b.png").symlink_to(linked / "a.png")  # resolved to its first place, of which training need not have all
    record["folder"] = folder_name(tmp_path / "all")
    (model / "training.json").write_text(json.dumps({"settings": {}, "data": {"adverse": record}, "history": []}))
    assert was_used(held, model)
    record["folder"] = "train/night"
    earlier = {name: value for name, value in record.items() if name != "linked from"}
    assert check_same_data({"adverse": earlier}, {"adverse": record}) == []
    plain = load_frames("adverse", tmp_path / "all", tmp_path / "cache", 32, (32, 32)).summary()
    assert "linked from" not in plain
