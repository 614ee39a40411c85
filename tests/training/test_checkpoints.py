"""Checkpoints: whole or absent, the right one found, nothing executed."""

import os
import pickle

import pytest
import torch

from gen import BadInput, BadSetting
from gen.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from gen.training.loop import constant_then_linear
from gen.training.settings import TrainerSettings, check_same_run, make_settings, parse_overrides


def test_the_last_two_are_kept_and_the_pointer_names_the_last(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    for images in (10, 20, 30):
        save_checkpoint(tmp_path, images, {"images_shown": images, "x": torch.ones(3)})
    assert sorted(os.listdir(tmp_path)) == ["latest.json", "state-000000020.pt", "state-000000030.pt"]
    assert load_checkpoint(latest_checkpoint(tmp_path))["images_shown"] == 30


def test_a_damaged_checkpoint_is_named_with_the_way_out(tmp_path):
    path = save_checkpoint(tmp_path, 10, {"x": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BadInput, match=r"state-000000010\.pt.*latest\.json"):
        load_checkpoint(path)


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


def test_settings_from_layers_and_strings():
    s = make_settings(TrainerSettings, {"out": "a", "lr": 1e-3}, parse_overrides(["lr=2e-4", "images=null", "seed=3"]))
    assert (s.lr, s.images, s.seed) == (2e-4, None, 3)
    with pytest.raises(BadSetting, match=r"precision: .*'fp8'"):
        make_settings(TrainerSettings, {"out": "a", "precision": "fp8"})


def test_a_resumed_run_may_change_only_what_the_weights_do_not_depend_on():
    may_change = TrainerSettings.may_change
    check_same_run({"lr": 1, "log_every": 5}, {"lr": 1, "log_every": 9}, may_change)
    check_same_run({"lr": 1, "preset": "none"}, {"lr": 1, "preset": "faces64"}, may_change)  # a label
    with pytest.raises(BadSetting, match="lr"):
        check_same_run({"lr": 1}, {"lr": 2}, may_change)
