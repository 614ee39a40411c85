"""Run directories that a crash, a full disk or a hand has damaged: the run goes on from what is whole."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from gen.errors import BadInput, BadSetting
from gen.locks import locked
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.data_record import changed_during_training, check_same_data
from gen.training.settings import read_record
from tests.training.test_loop import LineTrainer, averaging, made, metrics


def run(out: Path, **changes) -> LineTrainer:
    trainer = made(out, **{"log_every": 8, "checkpoint_every": 16, **changes})
    trainer.fit()
    return trainer


def curve(out: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in line.items() if "second" not in k} for line in metrics(out)]


@pytest.fixture
def whole(tmp_path) -> Path:
    run(tmp_path / "whole")
    return tmp_path / "whole"


@pytest.fixture
def half(tmp_path) -> Path:
    """Stopped after 40 of 64 images."""
    out = tmp_path / "run"
    trainer = made(out, log_every=8, checkpoint_every=16)
    trainer.watch = lambda: trainer.stop() if trainer.images_shown == 40 else None
    trainer.fit()
    assert not trainer.finished
    assert latest_checkpoint(out / "checkpoints").name == "state-000000040.pt"
    return out


def weights(out: Path) -> torch.Tensor:
    return load_checkpoint(latest_checkpoint(out / "checkpoints"))["networks"]["line"]["weight"]


@pytest.mark.parametrize("broken", ["", "{", "[1]", "null"])
def test_every_small_record_may_be_damaged(half, whole, broken):
    for name in ("settings.json", "metrics.jsonl", "checkpoints/latest.json"):
        (half / name).write_text(broken)
    run(half)
    assert torch.equal(weights(half), weights(whole))
    assert read_record(half)["settings"]["steps"] == 8
    assert [line["images"] for line in curve(half)] == [48, 56, 64]


def test_a_torn_line_and_zeros_in_the_metrics_are_dropped_and_no_step_is_twice(half, whole):
    path = half / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(
            b'{"images": 48, "loss/square": 0.1}\n{"images": 5}}\n\xff\xfe\n' + bytes(50) + b'\n{"images": 56, "lo'
        )
    run(half)
    assert curve(half) == curve(whole)


def test_a_truncated_checkpoint_costs_the_images_since_the_one_before(half, whole, caplog):
    path = latest_checkpoint(half / "checkpoints")
    path.write_bytes(path.read_bytes()[:-100])
    run(half)
    assert "8 images of training are lost" in caplog.text
    assert torch.equal(weights(half), weights(whole))
    assert curve(half) == curve(whole)


def test_a_foreign_checkpoint_is_set_aside(half, whole, caplog):
    torch.save({"g_ema": torch.ones(3)}, half / "checkpoints" / "state-000000050.pt")
    (half / "checkpoints" / "latest.json").unlink()
    run(half)
    assert "this is not a checkpoint of gen" in caplog.text
    assert torch.equal(weights(half), weights(whole))


def test_weights_of_another_shape_are_set_aside(half, whole, caplog):
    path = latest_checkpoint(half / "checkpoints")
    state = load_checkpoint(path)
    state["networks"]["line"]["weight"] = torch.ones(2, 1)
    torch.save(state, path)
    run(half)
    assert "the weights of its network line do not fit" in caplog.text
    assert torch.equal(weights(half), weights(whole))


def test_without_a_good_checkpoint_the_run_stops_and_begins_again_if_told(half, whole):
    before = (half / "metrics.jsonl").read_bytes()
    for path in (half / "checkpoints").glob("state-*.pt"):
        path.write_bytes(b"")
    with pytest.raises(BadInput, match="no checkpoint is whole"):
        run(half)
    assert (half / "metrics.jsonl").read_bytes() == before
    run(half)
    assert len(list((half / "checkpoints").glob("*.damaged"))) == 2
    assert torch.equal(weights(half), weights(whole))
    assert curve(half) == curve(whole)


def test_a_run_of_another_kind_and_other_settings_are_refused_and_kept(half):
    before = sorted(os.listdir(half / "checkpoints"))
    with pytest.raises(BadSetting, match=r"lr was 0\.1 when this run began and is 0\.2 now"):
        run(half, lr=0.2)
    path = latest_checkpoint(half / "checkpoints")
    state = load_checkpoint(path)
    state["networks"] = {"generators": {}, "discriminators": {}}
    torch.save(state, path)
    with pytest.raises(BadSetting, match="holds a run of another kind, with the networks generators, discriminators"):
        run(half)
    assert sorted(os.listdir(half / "checkpoints")) == before


def test_a_checkpoint_without_its_average_is_set_aside(tmp_path, caplog):
    averaging(tmp_path, images=16).fit()
    path = latest_checkpoint(tmp_path / "checkpoints")
    state = load_checkpoint(path)
    del state["ema"]
    torch.save(state, path)
    with pytest.raises(BadInput, match="no checkpoint is whole"):
        averaging(tmp_path, images=16).fit()
    assert "(no ema)" in caplog.text


def test_left_overs_of_killed_processes_are_swept(half):
    import gen.media.files

    prefix = gen.media.files._prefix()
    folders = ("", "samples", "checkpoints", "deep/er")
    left = [half / folder / f"{prefix}999999999-0123456789ab.partial.x" for folder in folders]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    run(half)
    assert not any(path.exists() for path in left)


def test_a_second_run_in_the_folder_is_refused(half):
    with locked(half), pytest.raises(BadSetting, match="another run is writing to this folder"):
        made(half)
    trainer = made(half)
    with locked(half), pytest.raises(BadSetting, match="another run is writing to this folder"):
        trainer.fit()
    run(half)


def test_too_little_room_is_told_before_the_first_step(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    trainer = made(tmp_path / "run")
    with pytest.raises(BadSetting, match=r"the disk is full; about 1\.0 MB are needed and 0\.0 MB are free"):
        trainer.fit()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_saves_and_the_second_one_ends_at_once(tmp_path, number):
    trainer = made(tmp_path / "one")
    trainer.watch = lambda: os.kill(os.getpid(), number) if trainer.images_shown == 16 else None
    trainer.fit()
    assert not trainer.finished
    assert latest_checkpoint(tmp_path / "one" / "checkpoints").name == "state-000000016.pt"

    trainer = made(tmp_path / "two", checkpoint_every=8)

    def twice() -> None:
        if trainer.images_shown == 16:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)

    trainer.watch = twice
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert latest_checkpoint(tmp_path / "two" / "checkpoints").name == "state-000000016.pt"
    assert threading.current_thread() is threading.main_thread()
    assert signal.getsignal(number) is not signal.SIG_DFL or number == signal.SIGTERM


def test_a_clock_that_jumps_back_changes_no_speed_and_no_bar(tmp_path, monkeypatch):
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() - 86400 * (time.monotonic() % 0.1 > 0.05))
    trainer = run(tmp_path)
    assert trainer.seconds > 0
    for line in metrics(tmp_path):
        assert 0 < line["images_per_second"] < 1e6


class TestData:
    OLD = {"adverse": {"folder": "a/b/night", "count": 20, "cached_size": [72, 128]}}  # noqa: RUF012

    def changed(self, **changes) -> dict:
        return {"adverse": self.OLD["adverse"] | changes}

    def test_a_few_lost_images_are_told_and_do_not_end_the_run(self):
        assert check_same_data(self.OLD, self.OLD) == []
        (note,) = check_same_data(self.OLD, self.changed(count=18, left_out=2))
        assert note == "adverse: 2 of 20 images vanished or broke since this run began."
        assert check_same_data(self.OLD, self.changed(count=19, cached_size=[72, 96]))

    @pytest.mark.parametrize(
        "changes", [{"count": 17}, {"count": 21}, {"folder": "a/b/rain"}, {"count": 19, "cached_size": [80, 128]}]
    )
    def test_other_data_are_refused(self, changes):
        with pytest.raises(BadSetting, match=r"adverse\..* when this run began"):
            check_same_data(self.OLD, self.changed(**changes))

    def test_strict_refuses_any_loss(self):
        with pytest.raises(BadSetting, match=r"adverse\.count was 20 when this run began and is 19 now"):
            check_same_data(self.OLD, self.changed(count=19), strict=True)

    def test_broken_files_that_were_never_used_do_not_matter(self):
        assert check_same_data(self.OLD, self.changed(left_out=3), strict=True) == []

    def test_replaced_images_are_told(self):
        old, new = ({"adverse": self.OLD["adverse"] | {"bytes": size}} for size in (1000, 1001))
        (note,) = check_same_data(old, new)
        assert note == "adverse: images were replaced since this run began; it goes on with the new ones."
        with pytest.raises(BadSetting, match=r"adverse: images were replaced .* put the old ones back"):
            check_same_data(old, new, strict=True)
        assert check_same_data(old, old, strict=True) == []
        assert check_same_data(self.OLD, new, strict=True) == []  # a record of an earlier version
        (note,) = check_same_data(old, self.changed(count=19, bytes=900))
        assert "1 of 20 images vanished" in note

    def test_what_a_run_began_with_stays_in_its_record(self, tmp_path, monkeypatch):
        """Else streets that trained it would count as held out."""
        before = {"bytes": 1000, "streets": [[0, 3]], "linked from": ["x/y/one"]}
        now = {"bytes": 1001, "streets": [[500, 503]], "linked from": ["x/y/two"]}
        records = [self.changed(**before), self.changed(**now), self.changed(**now), self.changed(**before)]
        both = {"streets": [[0, 3], [500, 503]], "linked from": ["x/y/one", "x/y/two"]}
        for steps, record in enumerate(records, 1):
            trainer = made(tmp_path)
            trainer.watch = lambda last=8 * steps, trainer=trainer: trainer.images_shown == last and trainer.stop()
            monkeypatch.setattr(trainer, "data_record", lambda record=record: record)
            trainer.fit()
            told = json.loads((tmp_path / "settings.json").read_text())["data"]
            assert load_checkpoint(trainer.checkpoint)["data"] == told
            if steps == 1:
                assert told == record
                assert changed_during_training(told) == []
            elif steps < 4:
                assert told == self.changed(**now | both | {"earlier bytes": [1000]})
                assert changed_during_training(told) == ["adverse"]
        assert told == self.changed(**before | both | {"earlier bytes": [1000, 1001]})

    def test_records_of_other_kinds_must_be_the_same(self):
        """The splits of SMOS and the references of HDA depend on each image."""
        old = {"domains": {"art": 20, "ink": 20}, "left_out": {"art": 1}}
        with pytest.raises(BadSetting, match=r"domains\.ink was 20 when this run began and is 19 now"):
            check_same_data(old, {"domains": {"art": 20, "ink": 19}})
        assert check_same_data(old, {"domains": {"art": 20, "ink": 20}}) == []


def test_the_record_names_the_version(half):
    assert json.loads((half / "settings.json").read_text())["version"]


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["networks"]["line"].update(weight=3),
        lambda state: state["networks"]["line"]["weight"].fill_(float("nan")),
        lambda state: state["optimizers"].update(line={}),
        lambda state: state.update(data=None),
        lambda state: state.update(settings=None),
        lambda state: state.update(extra=[]),
        lambda state: state.update(networks=[1]),
    ],
)
def test_a_checkpoint_whose_parts_are_of_other_kinds_is_set_aside(change, half, whole):
    """It is a whole file; the one before it is taken."""
    path = latest_checkpoint(half / "checkpoints")
    state = load_checkpoint(path)
    change(state)
    torch.save(state, path)
    run(half)
    assert torch.equal(weights(half), weights(whole))
    assert [file.name for file in (half / "checkpoints").glob("*.damaged*")] == [f"{path.name}.damaged"]
