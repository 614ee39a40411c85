"""On a pretended CUDA device: no operation mixes devices, and a step of a trainer waits for nothing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gen.training.checkpoints import load_checkpoint
from tests.device.conftest import REAL
from tests.device.pretend import Device, MixedDevices
from tests.device.real import RealDevice
from tests.device.trainers import BATCH, TRAINERS, write_data

pytestmark = pytest.mark.devices


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("pretended"))


@pytest.mark.skipif(REAL, reason="there is a real device")
class TestPretence:
    def test_values_are_right_and_gradients_flow(self, cuda: Device) -> None:
        x = torch.arange(6.0, requires_grad=True)
        there = x.to("cuda")
        assert (there.device.type, there.is_cuda) == ("cuda", True)
        (there * there).sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [0, 2, 4, 6, 8, 10]
        assert torch.zeros(2, device="cuda").device.type == "cuda"
        assert torch.tensor([1.0], device="cuda").device.type == "cuda"
        assert there.cpu().device.type == "cpu"

    def test_mixed_devices_are_refused(self, cuda: Device) -> None:
        with pytest.raises(MixedDevices, match=r"add at elsewhere: cuda \(3,\), cpu \(3,\)"):
            torch.zeros(3, device="cuda") + torch.zeros(3)
        assert (torch.zeros(3, device="cuda") + torch.tensor(2.0)).tolist() == [2, 2, 2]  # a scalar may be mixed in

    def test_waits_are_counted(self, cuda: Device) -> None:
        x = torch.arange(4.0, device="cuda")
        cuda.forget()
        y = x * 2 + x.mean()
        assert not cuda.waits
        assert (y.max().item(), float(y[0]), bool(y[0] > 0), len(y[y > 3])) == (7.5, 1.5, True, 3)
        assert x.cpu().numpy().sum() == 6
        assert sum(cuda.waits.values()) == 5
        with pytest.raises(TypeError, match="can't convert"):
            x.numpy()


@pytest.mark.parametrize("name", TRAINERS)
def test_a_step_waits_for_nothing(data: Path, tmp_path: Path, name: str, cuda: Device | RealDevice) -> None:
    trainer = TRAINERS[name](data, tmp_path)
    assert trainer.device.type == "cuda"
    for _ in range(2):
        trainer.train_one_step()
    cuda.forget()
    trainer.settings = _quiet(trainer.settings)
    trainer.train_one_step()
    assert isinstance(cuda, RealDevice) or cuda.operations
    assert not dict(cuda.waits)


def test_the_pictures_of_smos_lie_on_the_device(data: Path, tmp_path: Path, cuda: Device | RealDevice) -> None:
    trainer = TRAINERS["smos"](data, tmp_path)
    assert {part.domain.frames.pixels.device.type for part in trainer.train_parts} == {"cuda"}


@pytest.mark.parametrize("name", ["augan", "smos"])
def test_checkpoints_are_written_beside_training(
    data: Path, tmp_path: Path, name: str, cuda: Device | RealDevice
) -> None:
    trainer = TRAINERS[name](data, tmp_path)
    trainer.settings = replace(trainer.settings, checkpoint_every=1, checkpoint_seconds=0)
    trainer.fit()
    saved = load_checkpoint(trainer.checkpoint)
    assert saved["images_shown"] == trainer.images_shown
    for network, weights in saved["networks"].items():
        for key, value in trainer.raw[network].state_dict().items():
            assert torch.equal(weights[key], value.cpu())


def _quiet(settings: Any) -> Any:
    """The settings of a step between two ticks."""
    evaluations = {"evaluate_every": 1000} if hasattr(settings, "evaluate_every") else {}
    return replace(settings, log_every=1000 * BATCH, **evaluations)
