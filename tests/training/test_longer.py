"""A finished run can be made longer; at a constant learning rate it is then as if it had been long from the start."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gen.augan.card import how_trained
from gen.augan.export import export_model
from gen.augan.settings import AUGANSettings
from gen.augan.training import AUGANTrainer
from gen.cyclegan.method import CycleGANTrainer
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import BadSetting
from gen.hda.adaptation import Adaptation
from gen.hda.export import save_adaptation
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import StyleGAN2Trainer
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.longer import before, in_words
from gen.training.loop import Trainer
from tests.conftest import write_streets
from tests.smos.conftest import write_domains
from tests.stylegan2.conftest import tiny_generator, write_pictures

QUICK: dict[str, Any] = {"device": "cpu", "decay": 0.0, "log_every": 4, "sample_every": 1000}
UNPAIRED = {"width": 4, "discriminator_width": 4, "load_height": 64, "crop": [64, 64], "batch": 2}
SMALL_STYLEGAN = {"channel_multiplier": 0.016, "channel_max": 16, "z_dim": 16, "mapping_layers": 2, "ema_ramp": 0.05}


def augan(data: Path, out: Path, length: int) -> Trainer[Any]:
    where = {"adverse": data / "night", "normal": data / "day", "out": out, "blocks": 1, "transfer_blocks": 1}
    return AUGANTrainer(AUGANSettings.from_preset("tiny", **UNPAIRED, **QUICK, **where, images=length))


def cyclegan(data: Path, out: Path, length: int) -> Trainer[Any]:
    where = {"adverse": data / "night", "normal": data / "day", "out": out, "blocks": 5}
    return CycleGANTrainer(CycleGANSettings.from_preset("tiny", **UNPAIRED | QUICK | where, images=length))


def stylegan2(data: Path, out: Path, length: int) -> Trainer[Any]:
    sizes = SMALL_STYLEGAN | {"size": 32, "batch": 4, "distance_images": 0}
    return StyleGAN2Trainer(StyleGAN2Settings(data=data / "red", out=out, images=length, **QUICK | sizes))


def adaptation(data: Path, out: Path, length: int) -> Trainer[Any]:
    quick = QUICK | {"encoders": ("efficientnet-lite0@64",), "batch": 4, "warmup": 8, "stop_when_stalled": False}
    domains = (f"red={data / 'red'}",)
    return HDATrainer(HDASettings(source="tiny", domains=domains, out=out, images=length, **quick), tiny_generator())


def precursor(data: Path, out: Path, length: int) -> Trainer[Any]:
    quick = QUICK | {"size": 32, "backbone": "efficientnet-lite0", "batch": 4, "evaluate_every": 100, "swad": False}
    return SMOSTrainer(SMOSSettings(data=data / "shapes", dataset="any", out=out, steps=length // 4, **quick))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_streets(root / "night", 12, True)
    write_streets(root / "day", 10, False)
    write_pictures(root / "red", 4, (220, 40, 40), seed=1)
    write_domains(root / "shapes")
    return root


def networks(out: Path) -> dict[str, torch.Tensor]:
    last = latest_checkpoint(out / "checkpoints")
    assert last is not None
    state = load_checkpoint(last)
    assert state["images_shown"] == 16
    return {f"{name}.{key}": value for name, net in state["networks"].items() for key, value in net.items()}


@pytest.mark.parametrize(
    "make", [augan, cyclegan, stylegan2, adaptation, pytest.param(precursor, marks=pytest.mark.slow)]
)
def test_a_finished_run_can_be_made_longer(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[..., Trainer[Any]]
) -> None:
    make(data, tmp_path / "whole", 16).fit()
    for length in (8, 16):
        trainer = make(data, tmp_path / "longer", length)
        trainer.fit()
        assert trainer.finished
        assert trainer.images_shown == length
    assert "the learning rate continues at" in capsys.readouterr().out
    whole, longer = networks(tmp_path / "whole"), networks(tmp_path / "longer")
    for name, value in whole.items():
        torch.testing.assert_close(longer[name], value, rtol=0, atol=0, msg=name)
    with pytest.raises(BadSetting, match="already been trained on 16 images"):
        make(data, tmp_path / "longer", 4).fit()


def test_only_a_schedule_that_changes_is_told_of(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`images`, else `epochs`, of 10 days: what has no effect, or the same, is not named."""
    lengths: list[tuple[int | None, float, str]] = [
        (8, 20.0, ""),
        (8, 9.0, ""),
        (None, 0.8, ""),
        (None, 1.2, "epochs is 1.2 (was 0.8): the learning rate continues at"),
        (16, 1.2, "images is 16 (was epochs=1.2): the learning rate continues at"),
    ]
    for images, epochs, told in lengths:
        trainer = augan(data, tmp_path, 8)
        trainer.settings = replace(trainer.settings, images=images, epochs=epochs)
        trainer.fit()
        said = capsys.readouterr().out
        assert told in said
        assert ("continues at" in said) == bool(told)
    assert trainer.images_shown == 16


def test_a_learning_rate_that_rose_again_is_told_of(data: Path, tmp_path: Path) -> None:
    for decay, told in ((0.0, "none"), (0.5, "images=8")):
        run = tmp_path / told
        for length in (8, 12, 12):
            trainer = augan(data, run, length)
            trainer.settings = replace(trainer.settings, decay=decay)
            trainer.fit()
        export_model(run, run / "model")
        record = json.loads((run / "model" / "training.json").read_text())
        assert before(record) == told
    assert in_words(record).startswith("images=8 until 8 images, where the learning rate went from 0.0001 to 0.000133")
    assert "schedule changed | images=8 until 8 images" in how_trained(record)
    assert in_words(json.loads((run / "settings.json").read_text())) == in_words(record)


def test_a_stopped_run_that_is_made_shorter_is_not_said_to_be_longer(data: Path, tmp_path: Path) -> None:
    for length in (40, 12):
        trainer = augan(data, tmp_path, length)
        trainer.settings = replace(trainer.settings, decay=1.0)
        trainer.watch = trainer.stop if length == 40 else trainer.watch
        trainer.fit()
    export_model(tmp_path, tmp_path / "model")
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert before(record) == "images=40"
    assert "longer" not in how_trained(record)


def test_a_learning_rate_that_rises_in_a_warm_up_is_no_other_schedule(data: Path, tmp_path: Path) -> None:
    for length in (4, 8):  # of a warm-up of 8
        trainer = adaptation(data, tmp_path, length)
        trainer.fit()
    assert "earlier_lengths" not in trainer.origin


def test_a_run_that_has_ended_keeps_the_record_of_its_data(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    for number in (1, 2):
        augan(tmp_path / "data", tmp_path / "run", 8).fit()
        assert json.loads((tmp_path / "run" / "settings.json").read_text())["data"]["adverse"]["count"] == 12
        last = latest_checkpoint(tmp_path / "run" / "checkpoints")
        assert last is not None
        assert load_checkpoint(last)["data"]["adverse"]["count"] == 12
        if number == 1:
            min((tmp_path / "data" / "night").iterdir()).unlink()
    augan(tmp_path / "data", tmp_path / "run", 16).fit()  # now it is trained on what is there
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["data"]["adverse"]["count"] == 11


def test_an_adaptation_that_has_ended_keeps_its_end(data: Path, tmp_path: Path) -> None:
    adaptation(data, tmp_path, 40).fit()  # long enough for a window of progress
    settings = adaptation(data, tmp_path, 40).settings
    with pytest.raises(BadSetting, match="target_progress: this run has ended, and was trained with None"):
        HDATrainer(replace(settings, target_progress=1e-9), tiny_generator()).fit()


class OtherTrainer(HDATrainer):
    pass


def test_an_adaptation_that_has_ended_keeps_the_fingerprint_of_its_trainer(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = adaptation(data, tmp_path, 8).settings
    for fingerprint in ("old", "new"):
        code = {"trainer": {"class": "mine:OtherTrainer", "file_sha256": fingerprint}}
        monkeypatch.setattr("gen.training.loop.own_code", lambda kind, code=code: code)
        trainer = OtherTrainer(settings, tiny_generator())
        trainer.fit()
        record = Adaptation.load(save_adaptation(trainer)).record
        assert record["trainer"]["file_sha256"] == "old"
