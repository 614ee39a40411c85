"""Which arithmetic a run takes where it may choose."""

import json

import pytest
import torch

from gen.augan.training import AUGANTrainer
from gen.training import precision
from tests.augan.test_training import tiny_settings

CPU = torch.device("cpu")


def test_it_is_what_is_faster_here() -> None:
    """Measured anew, and far enough apart to tell."""
    times = {dtype: precision.seconds_of_a_convolution(dtype) for dtype in (torch.float32, torch.bfloat16)}
    ratio = times[torch.bfloat16] / times[torch.float32]
    if 0.6 < ratio < 1.3:
        pytest.skip(f"bf16 takes {ratio:.2f} of fp32's time here: too near to say which the next measurement finds")
    assert precision.fastest_precision(CPU) == ("bf16" if ratio < 1 else "fp32")


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.95, "fp32"), (17.0, "fp32")])
def test_a_small_gain_is_not_worth_the_rounding(monkeypatch: pytest.MonkeyPatch, bf16: float, chosen: str) -> None:
    monkeypatch.setattr(precision, "seconds_of_a_convolution", lambda dtype: bf16 if dtype == torch.bfloat16 else 1.0)
    assert precision.fastest_precision(CPU) == chosen


@pytest.mark.parametrize("moved", [True, False])
def test_a_run_says_what_it_took_and_keeps_it_on_such_a_machine(two_domains, tmp_path, monkeypatch, moved) -> None:
    """A measurement that comes out the other way does not change the arithmetic in the middle of a run."""
    for measured, images in (("bf16", 4), ("fp32", 8)):
        took = measured if moved else "bf16"
        monkeypatch.setattr("gen.training.precision.fastest_precision", lambda device, measured=measured: measured)
        if moved:
            monkeypatch.setattr("gen.provenance._cpu_model", lambda measured=measured: f"processor with {measured}")
        trainer = AUGANTrainer(tiny_settings(two_domains, tmp_path, images=images, precision="auto", log_every=4))
        assert trainer.accelerator.mixed_precision == ("bf16" if took == "bf16" else "no")
        trainer.fit()
        assert trainer.images_shown == images
        pointer = json.loads((tmp_path / "checkpoints" / "latest.json").read_text())
        state = torch.load(tmp_path / "checkpoints" / pointer["file"], weights_only=True)
        assert state["hardware"]["precision"] == took
