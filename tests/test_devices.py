"""Devices by name."""

import logging

import pytest
import torch

from gen import devices
from gen.devices import pick_device
from gen.errors import BadSetting


def test_auto_is_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device().type == pick_device(None).type == kind
        assert pick_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(pick_device("cuda:1")) == "cuda:1"
    with pytest.raises(BadSetting, match="this machine has 2 CUDA devices"):
        pick_device("cuda:2")


def test_a_device_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSetting, match="finds no CUDA device"):
        pick_device("cuda:0")
    with pytest.raises(BadSetting, match="unknown device 'gpu'"):
        pick_device("gpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(BadSetting, match="finds no Apple GPU"):
            pick_device("mps")


def test_a_driver_that_torch_cannot_use_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "DRIVER", __file__)  # a file that is there
    with caplog.at_level(logging.WARNING):
        assert pick_device().type == "cpu"
    assert "torch cannot use this machine's GPU" in caplog.text
