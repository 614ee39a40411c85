"""The training loop with the smallest trainer that there can be."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gen.errors import BadSetting, TrainingDiverged
from gen.provenance import EARLIER
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.loop import Trainer
from gen.training.settings import EMASettings, ImagesOrEpochs, TrainerSettings


@dataclass(frozen=True, kw_only=True)
class StepSettings(TrainerSettings):
    steps: int = 8


@dataclass(frozen=True, kw_only=True)
class AveragedSettings(ImagesOrEpochs, EMASettings, TrainerSettings):
    pass


class LineTrainer(Trainer[Any]):
    """Fits y = 2 x."""

    def __init__(self, settings: TrainerSettings, averaged: str | None = None) -> None:
        super().__init__(settings)
        self.line = nn.Linear(1, 1)
        self.setup({"line": self.line}, averaged)

    @property
    def total_images(self) -> int:
        s = self.settings
        return s.steps * s.batch if isinstance(s, StepSettings) else s.images_to_show(10)

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        with self.updating("line"):
            for number, samples in enumerate(parts):
                x = torch.tensor([[math.sin(n)] for n in samples])
                with self.synchronised("line", number):
                    loss = (self.wrapped["line"](x) - 2 * x).square().mean()
                    self.backward({"square": loss})
        return {"square": loss.detach()}

    def sample_grid(self) -> np.ndarray:
        return np.full((2, 2, 3), 255 * (self.line.weight.item() > 0), np.uint8)


def made(out: Path, **changes: Any) -> LineTrainer:
    return LineTrainer(StepSettings(out=out, **{"device": "cpu", "channels_last": False, "lr": 0.1, **changes}))


def averaging(out: Path, **changes: Any) -> LineTrainer:
    settings = AveragedSettings(out=out, device="cpu", channels_last=False, lr=0.1, **changes)
    return LineTrainer(settings, averaged="line")


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_trainer_of_so_many_steps_has_no_average(tmp_path: Path) -> None:
    trainer = made(tmp_path, log_every=16)
    trainer.fit()
    assert trainer.finished
    state = load_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))
    assert "ema" not in state
    assert not {"images", "epochs", "core_minutes", "ema_half_life", "ema_ramp"} & state["settings"].keys()
    assert [line["images"] for line in metrics(tmp_path)] == [16, 32, 48, 64]
    with trainer.averaged_weights():
        assert torch.equal(trainer.line.weight, state["networks"]["line"]["weight"])


def test_a_stopped_trainer_goes_on_when_it_is_asked_again(tmp_path: Path) -> None:
    """In a notebook, Ctrl-C ends `fit`, and the same trainer is used again."""
    whole, stopped = made(tmp_path / "a"), made(tmp_path / "b")
    whole.fit()
    stopped.watch = stopped.stop
    stopped.fit()
    assert not stopped.finished
    stopped.watch = lambda: None
    stopped.fit()
    assert stopped.finished
    assert torch.equal(whole.line.weight, stopped.line.weight)


def test_single_steps_are_those_of_fit(tmp_path: Path) -> None:
    whole, single = made(tmp_path / "a"), made(tmp_path / "b")
    whole.fit()
    while not single.finished:
        single.train_one_step()
    assert torch.equal(whole.line.weight, single.line.weight)
    assert single.core_seconds > 0


def test_the_record_names_all_machines_that_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def on(name: str, images: int) -> dict[str, Any]:
        monkeypatch.setattr("gen.training.loop.machine", lambda device: {"cpu": name, "cores": 2, "gpu": None})
        averaging(tmp_path, images=images).fit()
        hardware = load_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))["hardware"]
        assert json.loads((tmp_path / "settings.json").read_text())["hardware"] == hardware  # which a table is made of
        return hardware

    assert EARLIER not in on("A", images=32)
    assert on("B", images=32)["cpu"] == "A"  # it was finished: nothing was trained on B
    assert (moved := on("B", images=64))["cpu"] == "B"
    assert moved[EARLIER].startswith("cpu: A, cores: 2")
    assert on("B", images=96) == moved


def test_an_average_is_kept_where_it_is_asked_for_and_used_within_its_block(tmp_path: Path) -> None:
    trainer = averaging(tmp_path, images=80, ema_half_life=40)
    trainer.fit()
    state = load_checkpoint(latest_checkpoint(tmp_path / "checkpoints"))
    trained = trainer.line.weight.clone()
    with trainer.averaged_weights():
        assert torch.equal(trainer.line.weight, state["ema"]["shadow_params"][0])
        assert not torch.equal(trainer.line.weight, trained)
    assert torch.equal(trainer.line.weight, trained)


def test_an_average_needs_its_settings(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="StepSettings must inherit EMASettings to average line"):
        LineTrainer(StepSettings(out=tmp_path, device="cpu", channels_last=False), averaged="line")


def test_epochs_are_those_of_the_smallest_domain(tmp_path: Path) -> None:
    assert averaging(tmp_path, epochs=2.6).total_images == 26
    assert averaging(tmp_path, epochs=2.6, images=7).total_images == 7


def test_a_trainer_may_refuse_losses_before_they_are_saved(tmp_path: Path) -> None:
    class Strict(LineTrainer):
        def check_losses(self, images: int, losses: Mapping[str, float]) -> None:
            super().check_losses(images, losses)
            if images == 40:
                raise self.diverged("square", losses["square"], images)

    settings = StepSettings(out=tmp_path, device="cpu", channels_last=False, checkpoint_every=16, steps=9)
    with pytest.raises(TrainingDiverged, match=r"loss square became \d.* at step 5 \(40 images\).*state-000000032"):
        Strict(settings).fit()
    assert latest_checkpoint(tmp_path / "checkpoints").name == "state-000000032.pt"


def test_a_batch_must_have_equal_parts(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"batch: 8 cannot be split evenly over 1 processes times 3"):
        made(tmp_path, accumulate=3)


def test_the_schedule_of_a_run_that_has_ended_changes_with_its_length_alone(tmp_path: Path) -> None:
    averaging(tmp_path, images=8, decay=0.5).fit()
    before = (tmp_path / "settings.json").read_bytes()
    with pytest.raises(BadSetting, match=r"has ended, and was trained with 0\.5, not 0\.25"):
        averaging(tmp_path, images=8, decay=0.25).fit()
    assert (tmp_path / "settings.json").read_bytes() == before
    averaging(tmp_path, images=16, decay=0.25).fit()


def test_settings_of_the_whole_process_are_given_back(tmp_path: Path) -> None:
    """On a server, a training must leave the arithmetic of the others alone."""
    backends = torch.backends
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = backends.cudnn.benchmark = False
    trainer = made(tmp_path)
    seen = []

    def flags() -> tuple[bool, bool, bool]:
        return backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.benchmark

    trainer.watch = lambda: seen.append(flags())
    trainer.fit()
    # Without cuDNN's search for the fastest kernels, which takes seconds for each new size of a part of the batch.
    assert set(seen) == {(True, True, False)}
    assert flags() == (False, False, False)
