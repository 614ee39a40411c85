"""Devices by name."""

import pytest
import torch

from gen.devices import pick_device
from gen.errors import BadSetting


def test_auto_is_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, kind in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert pick_device().type == pick_device(None).type == kind
        assert pick_device("cpu").type == "cpu"
    assert str(pick_device("cuda:1")) == "cuda:1"


def test_a_device_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadSetting, match="finds no CUDA device"):
        pick_device("cuda:0")
    with pytest.raises(BadSetting, match="unknown device 'gpu'"):
        pick_device("gpu")
