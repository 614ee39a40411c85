"""What a model says of itself, and who repeats it."""

import json

import pytest
import torch

from gen import AUGANPipeline, BadSetting
from gen.augan.networks import AUGANGenerator
from gen.cli import main
from gen.translation.automatic import models_by_weather
from gen.translation.registry import at_hand
from gen.translation.weathers import any_of, check_weathers, directions_of, sentence, weathers_of
from gen.web.choices import introduction, model_dropdown
from tests.translation.identity import picture


def save_tiny(folder, weathers=(), both=True, seed=0) -> str:
    """A model folder for these weathers, with random weights."""
    torch.manual_seed(seed)
    shape = {"width": 4, "blocks": 1, "reconstruction": False, "transfer_blocks": 0, "uncertainty": False}
    back = AUGANGenerator(**shape) if both else None
    pipe = AUGANPipeline(AUGANGenerator(**shape), back, trained_height=32, trained_width=56, weathers=weathers)
    pipe.save_pretrained(folder)
    return str(folder)


def test_a_folder_keeps_the_weathers_that_it_was_made_for(tmp_path):
    folder = save_tiny(tmp_path / "mine", ["Night", "rainy_night"])
    assert json.loads((tmp_path / "mine" / "model_index.json").read_text())["weathers"] == ["night", "rainy night"]
    assert weathers_of(folder) == ["night", "rainy night"]
    assert list(AUGANPipeline.from_pretrained(folder).config["weathers"]) == ["night", "rainy night"]


def test_a_folder_from_before_says_nothing_and_still_loads(tmp_path):
    folder = save_tiny(tmp_path / "old")
    index = tmp_path / "old" / "model_index.json"
    known = json.loads(index.read_text())
    del known["weathers"]
    index.write_text(json.dumps(known))
    assert list(AUGANPipeline.from_pretrained(folder).config["weathers"]) == []
    assert sentence("adverse_to_normal", weathers_of(folder)) == "Adverse weather to clear day"


@pytest.mark.parametrize("name", ["", " ", "day", "Clear_day"])
def test_what_is_not_adverse_is_refused(name):
    with pytest.raises(BadSetting, match="must be adverse"):
        check_weathers(["night", name])


def test_words():
    assert any_of([]) == ""
    assert any_of(["fog"]) == "fog"
    assert any_of(["night", "rain", "fog"]) == "night, rain or fog"
    assert sentence("normal_to_adverse", ["night", "rainy night"]) == "Clear day to night or rainy night"


def test_help_the_page_and_auto_offer_what_the_folders_say(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
    save_tiny(tmp_path / "a-many", ["sandstorm", "night", "smoke", "fog"])
    save_tiny(tmp_path / "b-one-way", ["sandstorm"], both=False)
    assert directions_of("b-one-way") == ["adverse_to_normal"]
    assert "b-one-way: sandstorm to clear day\n" in at_hand() + "\n"
    with pytest.raises(SystemExit):
        main(["translate", "--help"])
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "b-one-way: sandstorm to clear day" in printed
    assert "augan-night2day: night or rainy night to clear day; clear day to night or rainy night" in printed
    assert "sandstorm" in introduction()
    assert ("auto", "auto") in model_dropdown(auto=True).choices
    assert ("auto", "auto") not in model_dropdown().choices
    chosen = models_by_weather(["day", "night", "smoke", "sandstorm", "snow"])
    assert chosen == {"night": "augan-night2day", "smoke": "a-many", "sandstorm": "b-one-way"}


def test_the_shipped_folder():
    assert weathers_of("augan-night2day") == ["night", "rainy night"]
    assert directions_of("augan-night2day") == ["adverse_to_normal", "normal_to_adverse"]


def test_fast_is_the_name_of_the_small_model(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path / "weights"))
    save_tiny(tmp_path / "weights" / "augan-night2day-fast", ["night"])
    picture(tmp_path / "a.png")
    assert main(["translate", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--model", "fast"]) == 0
    (file,) = json.loads((tmp_path / "b.report.json").read_text())["files"]
    assert file["made_with"].startswith("augan-night2day-fast,")
