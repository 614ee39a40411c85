"""Checkpoints: whole or absent, the right one found, nothing executed."""

import os
import pickle
import zipfile
from dataclasses import dataclass, replace

import pytest
import torch

from gen import BadInput, BadSetting
from gen.training.averaged import load_last_state
from gen.training.checkpoints import (
    CheckpointWriter,
    DamagedCheckpoint,
    latest_checkpoint,
    load_checkpoint,
    load_last_good,
    save_checkpoint,
)
from gen.training.schedule import constant_then_linear
from gen.training.settings import (
    EMASettings,
    ImagesOrEpochs,
    TrainerSettings,
    as_record,
    check_same_run,
    check_same_settings,
    make_settings,
    parse_overrides,
    read_record,
)


@dataclass(frozen=True, kw_only=True)
class ByImages(ImagesOrEpochs, EMASettings, TrainerSettings):
    """With all that a trainer may add."""


def test_the_last_two_are_kept_and_the_pointer_names_the_last(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for images in (10, 20, 30):
        save_checkpoint(tmp_path, images, {"images_shown": images, "x": torch.ones(3)})
    assert sorted(os.listdir(tmp_path)) == ["latest.json", "state-000000020.pt", "state-000000030.pt"]
    assert load_checkpoint(latest_checkpoint(tmp_path))["images_shown"] == 30


def test_a_checkpoint_that_is_written_beside_training_holds_the_state_of_its_call(tmp_path):
    """Weights, and optimiser states whose counters lie in the processor's memory, change while it is written."""
    weight = torch.nn.Parameter(torch.ones(200_000))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    writer = CheckpointWriter(beside=True)
    for images in (10, 20, 30):
        weight.sum().backward()
        optimizer.step()
        now = {"x": weight, "optimizers": {"x": optimizer.state_dict()}, "images_shown": images, "names": ("a", ["b"])}
        expected = (weight.detach().clone(), images // 10)
        writer.write(tmp_path, images, now)
        optimizer.step()  # two steps a checkpoint: half of them after the call
        weight.data.copy_(expected[0])
        optimizer.state[weight]["step"] -= 1
        writer.wait()
        state = load_checkpoint(latest_checkpoint(tmp_path))
        assert torch.equal(state["x"], expected[0])
        assert state["optimizers"]["x"]["state"][0]["step"] == expected[1]
        assert (state["images_shown"], state["names"]) == (images, ("a", ["b"]))


def test_a_write_that_failed_beside_training_is_an_error_of_the_next_or_of_the_end(tmp_path):
    (tmp_path / "file").write_text("")
    writer = CheckpointWriter(beside=True)
    writer.write(tmp_path / "file", 10, {})
    with pytest.raises(OSError, match="file"):
        writer.wait()
    writer.wait()  # told once
    writer.write(tmp_path, 20, {"images_shown": 20})
    writer.wait()
    assert latest_checkpoint(tmp_path) is not None


def damaged(data: bytes, how: str) -> bytes:
    """A checkpoint as faults leave it."""
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]
    return {"empty": b"", "cut": data[:middle], "text": b"<html>404</html>", "zeros": bytes(100), "flipped": flipped}[
        how
    ]


@pytest.mark.parametrize("how", ["empty", "cut", "text", "zeros", "flipped"])
def test_the_last_good_checkpoint_is_found_and_the_damaged_one_is_kept(tmp_path, caplog, how):
    for images in (10, 20):
        path = save_checkpoint(tmp_path, images, {"images_shown": images, "x": torch.ones(1000)})
    content = damaged(path.read_bytes(), how)
    path.write_bytes(content)
    with pytest.raises(DamagedCheckpoint, match=r"state-000000020\.pt: the checkpoint is damaged"):
        load_checkpoint(path)
    assert load_last_good(tmp_path).state["images_shown"] == 10
    assert path.exists()  # a reader changes nothing
    assert load_last_good(tmp_path, set_aside=True).path.name == "state-000000010.pt"
    assert (tmp_path / "state-000000020.pt.damaged").read_bytes() == content
    assert "It is kept as state-000000020.pt.damaged." in caplog.text
    assert "state-000000010.pt is used instead; 10 images of training are lost." in caplog.text
    caplog.clear()
    assert load_last_good(tmp_path, set_aside=True).state["images_shown"] == 10
    assert not caplog.text


def test_a_checkpoint_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    path = save_checkpoint(tmp_path, 10, {"x": torch.zeros(30_000_000)})
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in stored.infolist():
            archive.writestr(entry.filename, stored.read(entry))
    assert packed.stat().st_size < 500_000
    with pytest.raises(DamagedCheckpoint, match="damaged"):
        load_checkpoint(packed)


@pytest.mark.parametrize(
    "pointer", [None, "", "{", "[]", "[" * 100_000, '{"file": "state-000000030.pt"}', '{"file": "../../x.pt"}']
)
def test_a_damaged_pointer_loses_nothing(tmp_path, pointer):
    for images in (10, 20):
        save_checkpoint(tmp_path, images, {"images_shown": images})
    (tmp_path / "latest.json").unlink()
    if pointer is not None:
        (tmp_path / "latest.json").write_text(pointer)
    assert load_last_good(tmp_path).state["images_shown"] == 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    save_checkpoint(tmp_path, 10, {"images_shown": 10})
    (tmp_path / "latest.json").unlink()
    for name in ("latest.json", "settings.json", "state-000000020.pt"):
        os.mkfifo(tmp_path / name)
    assert load_last_good(tmp_path).state["images_shown"] == 10
    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"images_shown": -8},
        {"images_shown": "8"},
        {"images_shown": 8.5},
        {"images_shown": True},
        {"seconds": float("nan")},
        {"settings": 5},
        {"networks": [1]},
        {"networks": {"generator": 5}},
        {"optimizers": 5},
        {"ema": 5},
        {"extra": 5},
        {"hardware": 5},
    ],
)
def test_entries_of_another_kind_are_damage(tmp_path, wrong):
    save_checkpoint(tmp_path, 10, {"images_shown": 10})
    save_checkpoint(tmp_path, 20, {"images_shown": 20, **wrong})
    assert load_last_good(tmp_path).state["images_shown"] == 10


def test_a_state_that_lacks_an_entry_is_not_exported(tmp_path):
    save_checkpoint(tmp_path / "checkpoints", 10, {"images_shown": 10})
    with pytest.raises(BadInput, match="no checkpoint here that can be loaded"):
        load_last_state(tmp_path)


@pytest.mark.parametrize("batch", ["0", "1e9", "9" * 20])
def test_a_batch_that_no_memory_holds(tmp_path, batch):
    with pytest.raises(BadSetting, match="batch: Input should be"):
        make_settings(ByImages, {"out": tmp_path}, parse_overrides([f"batch={batch}"]))


def test_a_person_may_point_to_the_checkpoint_before(tmp_path):
    for images in (10, 20):
        save_checkpoint(tmp_path, images, {"images_shown": images})
    (tmp_path / "latest.json").write_text('{"file": "state-000000010.pt"}')
    assert load_last_good(tmp_path).state["images_shown"] == 10


def test_a_file_that_may_not_be_read_is_not_set_aside(tmp_path):
    save_checkpoint(tmp_path, 10, {"images_shown": 10})
    path = tmp_path / "state-000000010.pt"
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput, match="the checkpoint cannot be read"):
        load_last_good(tmp_path, set_aside=True)
    assert path.exists()


def test_a_state_that_is_refused_is_set_aside_and_nothing_is_left(tmp_path):
    def refuse(path, state):
        raise DamagedCheckpoint(f"{path}: foreign.")

    save_checkpoint(tmp_path, 10, {"anything": 1})
    assert load_last_good(tmp_path, check=refuse, set_aside=True) is None
    assert (tmp_path / "state-000000010.pt.damaged").exists()
    assert latest_checkpoint(tmp_path) is None


def test_a_hostile_checkpoint_runs_nothing(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run by the checkpoint"),))

    with (tmp_path / "state.pt").open("wb") as file:
        pickle.dump(Hostile(), file)
    with pytest.raises(BadInput):
        load_checkpoint(tmp_path / "state.pt")
    assert not (tmp_path / "run by the checkpoint").exists()


def test_the_learning_rate_is_constant_for_half_and_then_falls_to_zero():
    assert [constant_then_linear(p / 10) for p in range(11)] == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0])


@pytest.mark.parametrize(
    ("decay", "shares"),
    [
        (0.0, [1] * 11),
        (0.4, [1, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0]),
        (1.0, [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0]),
    ],
)
def test_it_falls_in_the_last_share_of_the_run(decay, shares):
    assert [constant_then_linear(p / 10, decay) for p in range(11)] == pytest.approx(shares)


def test_settings_from_layers_and_strings():
    s = make_settings(ByImages, {"out": "a", "lr": 1e-3}, parse_overrides(["lr=2e-4", "images=null", "seed=3"]))
    assert (s.lr, s.images, s.seed) == (2e-4, None, 3)
    with pytest.raises(BadSetting, match=r"precision: .*'fp8'"):
        make_settings(TrainerSettings, {"out": "a", "precision": "fp8"})
    with pytest.raises(BadSetting, match=r"unknown setting 'images'; available: accumulate, batch.*strict\.$"):
        make_settings(TrainerSettings, {"out": "a", "images": 7})
    with pytest.raises(BadSetting, match="out: this setting is required"):
        make_settings(TrainerSettings, {})
    with pytest.raises(BadSetting, match="lr: write a setting as name=value"):
        parse_overrides(["lr"])


def test_a_resumed_run_may_change_only_what_the_weights_do_not_depend_on():
    may_change = TrainerSettings.may_change
    check_same_run({"lr": 1, "log_every": 5}, {"lr": 1, "log_every": 9}, may_change)
    check_same_run({"lr": 1, "preset": "none"}, {"lr": 1, "preset": "faces64"}, may_change)  # a label
    with pytest.raises(BadSetting, match="lr"):
        check_same_run({"lr": 1}, {"lr": 2}, may_change)


def test_a_record_from_before_a_setting_had_its_default():
    """`compile` may change, `channels_last` may not; the first record knows neither of them, nor `images`."""
    settings = make_settings(ByImages, {"out": "a", "images": 7})
    old = {k: v for k, v in as_record(settings).items() if k not in ("channels_last", "compile", "images")}
    may_change = TrainerSettings.may_change
    check_same_settings(old, settings, may_change)
    with pytest.raises(BadSetting, match="channels_last was True when this run began and is False now; change it back"):
        check_same_settings(old, replace(settings, channels_last=False), may_change)
    with pytest.raises(BadSetting, match="images was None when this run began and is 7 now"):
        check_same_settings(old, settings, may_change - {"images"})
    with pytest.raises(BadSetting, match="depth"):
        check_same_settings(old | {"depth": 3}, settings, may_change)


def test_a_record_from_when_every_trainer_had_every_setting():
    """What a trainer has no use for is ignored in an old record; what it still has is compared."""
    plain, by_images = (make_settings(kind, {"out": "a"}) for kind in (TrainerSettings, ByImages))
    old = as_record(by_images) | {"images": 9, "epochs": 3.0, "ema_half_life": 5}
    check_same_settings(old, plain, TrainerSettings.may_change)
    with pytest.raises(BadSetting, match="ema_half_life was 5 when this run began and is 1000 now"):
        check_same_settings(old, by_images, TrainerSettings.may_change)
