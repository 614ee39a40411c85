"""Networks are built and loaded one at a time: diffusers and accelerate patch torch for the whole process meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gen import loading as module
from gen.hda.encoders import load_encoder
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.loading import loading
from gen.metrics.features import load_features
from gen.metrics.paired import load_perceptual
from gen.pretrained import LiteBackbone
from gen.smos.backbones import load_backbone
from gen.smos.classifiers import load_classifier
from gen.translation import registry
from gen.translation.weather import WeatherClassifier
from tests.conftest import write_streets


def trainer(folder: Path) -> HDATrainer:
    references = write_streets(folder / "references", 4, False, 64, 64)
    where = {"source": "stylegan2-faces64", "domains": (f"street={references}",), "out": folder / "run"}
    settings = HDASettings(**where, device="cpu", images=8, batch=4)
    return HDATrainer(settings, HDAPipeline.from_pretrained("stylegan2-faces64").generator)


LOADS: dict[str, Callable[[Path], Any]] = {
    "translator": lambda folder: registry.load("augan-night2day"),
    "generator": lambda folder: HDAPipeline.from_pretrained("stylegan2-faces64"),
    "weather": lambda folder: WeatherClassifier.from_pretrained(),
    "encoder": lambda folder: load_encoder("efficientnet-lite0-grid"),
    "second encoder": lambda folder: load_encoder("squeezenet"),
    "features": lambda folder: load_features("efficientnet-lite0"),
    "perceptual": lambda folder: load_perceptual(),
    "precursor": lambda folder: load_classifier("smd-precursor"),
    "backbone": lambda folder: load_backbone("resnet18", "none"),
    "pyramid": lambda folder: LiteBackbone(2),
    "trainer": trainer,
}


@pytest.mark.parametrize("name", LOADS)
def test_every_network_is_built_under_the_lock(name, tmp_path, monkeypatch):
    """Whatever registers a parameter holds the lock, so that no other thread's patch can reach it."""
    loose: list[str] = []
    register = nn.Module.register_parameter

    def watched(self: nn.Module, name: str, parameter: Any) -> None:
        if not module._lock._is_owned():
            loose.append(type(self).__name__)
        register(self, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", watched)
    LOADS[name](tmp_path)
    assert loose == []


def test_threads_that_load_at_once_all_succeed(tmp_path):
    names = ("translator", "generator", "weather", "encoder", "perceptual")
    errors: list[str] = []

    def load(name: str, barrier: threading.Barrier) -> None:
        barrier.wait()
        loaded = LOADS[name](tmp_path)
        network = loaded.adverse_to_normal if name == "translator" else loaded
        network = network.generator if name == "generator" else network.head if name == "weather" else network
        if any(p.is_meta or not torch.isfinite(p).all() for p in network.parameters()):
            errors.append(name)

    with ThreadPoolExecutor(len(names)) as pool:
        for _ in range(8):
            barrier = threading.Barrier(len(names))
            for future in [pool.submit(load, name, barrier) for name in names]:
                future.result()
    assert errors == []
    assert not nn.Linear(2, 2).weight.is_meta


def test_a_trainer_goes_on_while_another_is_built(tmp_path):
    """accelerate's state is one for the process: the second trainer must not take it from the first."""
    first, second = trainer(tmp_path / "a"), trainer(tmp_path / "b")
    assert vars(first.accelerator.state) is not vars(second.accelerator.state)
    first.train_one_step()


def test_a_thread_may_enter_the_lock_again():
    @loading
    def inner() -> int:
        return 1

    with loading:
        assert inner() == 1
