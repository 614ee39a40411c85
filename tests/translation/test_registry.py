"""A translation method is one file: it trains, and its models are listed, translated with and offered by the page."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen import BadInput, HDAPipeline, weights
from gen.media.images import decode_still
from gen.translation import registry
from gen.translation.weathers import directions_of
from tests.conftest import street

HERE = Path(__file__).parent
DARK = torch.full((1, 48, 80, 3), 40, dtype=torch.uint8)


@pytest.fixture
def method(monkeypatch):
    """The outside file, imported under the name that its models record."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))
    sys.modules.pop("outside_method", None)
    import outside_method

    yield outside_method
    sys.modules.pop("outside_method")


def test_a_method_in_one_file_trains_and_translates(two_domains, tmp_path, monkeypatch, method):
    """From the command line its file is named by $GEN_PLUGINS."""
    night, day = two_domains
    settings = method.GammaSettings(
        adverse=night, normal=day, out=tmp_path / "run", images=60, lr=0.1, batch=2,
        load_height=64, crop=(64, 64), device="cpu", decay=0.5,
    )  # fmt: skip
    trainer = method.GammaTrainer(settings)
    trainer.fit()
    exponent = float(trainer.pair["adverse_to_normal"].log_exponent.exp())
    assert exponent < 0.8  # brighter
    method.GammaPipeline(*trainer.pair.values(), weathers=["night"]).save_pretrained(tmp_path / "weights" / "gamma")
    monkeypatch.setattr(weights, "weight_folders", lambda: [tmp_path / "weights"])
    assert registry.translators() == ["gamma"]
    assert directions_of("gamma") == ["adverse_to_normal", "normal_to_adverse"]
    picture = tmp_path / "in.png"
    Image.fromarray(street(np.random.default_rng(0), 48, 64, True)).save(picture)
    by_hand = registry.load("gamma")(picture, output_type="np").images[0]
    command = [
        sys.executable,
        "-m",
        "gen.cli",
        "translate",
        str(picture),
        str(tmp_path / "out.png"),
        "--model",
        "gamma",
    ]
    environment = os.environ | {
        "GEN_PLUGINS": str(HERE / "outside_method.py"),
        "GEN_WEIGHTS": str(tmp_path / "weights"),
    }
    subprocess.run(command, env=environment, check=True, capture_output=True)
    np.testing.assert_array_equal(decode_still(tmp_path / "out.png").rgb, by_hand)
    assert by_hand.mean() > decode_still(picture).rgb.mean()


def test_the_page_offers_it(tmp_path, monkeypatch, method):
    from gen.web.translation import translators

    method.GammaPipeline(method.Exponent(), None).save_pretrained(tmp_path / "one-way")
    monkeypatch.setattr(weights, "weight_folders", lambda: [tmp_path])
    assert translators() == ["one-way"]


def test_a_model_that_does_not_translate_is_refused():
    with pytest.raises(BadInput, match=r"HDAPipeline.*does not translate frames"):
        registry.load("stylegan2-faces64")


def test_a_plugin_that_cannot_be_imported_is_named(tmp_path):
    environment = os.environ | {"GEN_PLUGINS": "no_such_module"}
    command = [sys.executable, "-m", "gen.cli", "translate", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "GEN_PLUGINS: no_such_module cannot be imported" in done.stderr


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pipe: pickle.loads(pickle.dumps(pipe))])
def test_a_pipeline_can_be_copied_and_pickled(copied):
    for pipe, run in (
        (
            registry.load("augan-night2day"),
            lambda pipe: pipe.translate_frames(DARK, "adverse_to_normal")[0],
        ),
        (HDAPipeline.from_pretrained("stylegan2-faces64"), lambda pipe: pipe(seeds=[1], output_type="np").images[0]),
    ):
        np.testing.assert_array_equal(np.asarray(run(copied(pipe))), np.asarray(run(pipe)))


def test_capabilities_are_data():
    night = registry.load("augan-night2day")
    assert night.capabilities.directions == ("adverse_to_normal", "normal_to_adverse")
    assert night.capabilities.maps["adverse_to_normal"][0] == night.shown_map("adverse_to_normal")
    assert night.capabilities.maps["normal_to_adverse"] == ()
    index = json.loads((weights.SHIPPED / "augan-night2day" / "model_index.json").read_text())
    assert night.capabilities.weathers == tuple(index["weathers"])
    assert night.capabilities.multiple in (4, 8, 16)
