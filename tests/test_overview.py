"""What `gen models` and `gen doctor` say of this machine."""

from pathlib import Path

import pytest

from gen.cli import main
from gen.errors import BadSetting


def test_models_lists_what_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    night = next(line for line in lines if line.startswith("augan-night2day "))
    assert "night, rainy night" in night
    assert "research use only" in night
    kinds = {line.split()[0]: line.split()[1] for line in lines[1:]}
    assert kinds["augan-night2day"] == "translator"
    assert kinds["faces64-sketch-sunglasses"] == "adaptation"
    assert (kinds["stylegan2-faces64"], kinds["weather"], kinds["squeezenet1_1"]) == (
        "generator",
        "classifier",
        "network",
    )


def test_models_shows_a_card(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "augan-night2day"]) == 0
    assert "# augan-night2day" in capsys.readouterr().out
    assert main(["models", "augan-night2dya"]) == 1
    assert "did you mean augan-night2day or" in capsys.readouterr().err


def test_a_model_of_ones_own_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text('{"_class_name": "AUGANPipeline", "weathers": ["snow"]}')
    monkeypatch.setenv("GEN_WEIGHTS", str(tmp_path))
    assert main(["models"]) == 0
    assert any(line.startswith("mine ") and " snow " in line for line in capsys.readouterr().out.splitlines())
    for name in ("mine", str(tmp_path / "mine")):
        assert main(["models", name]) == 1
        assert "mine: this model has no card" in capsys.readouterr().err


def test_doctor_finds_no_problem_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for line in ("encoder  h264: libx264", "device   cpu: ", "no problem found"):
        assert line in out
    assert out.count(": augan-fog2clear") == 1  # a folder that two names lead to is listed once


def test_an_encoder_that_does_not_work_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(encoding: object) -> None:
        raise BadSetting("encoder: it does not work.")

    monkeypatch.setattr("gen.media.video.encoders.check_encoding", refuse)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "encoder  PROBLEM: h264: encoder: it does not work." in out
    assert "3 problems" in out


def test_a_full_disk_is_a_problem(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("gen.overview.checks.LEAST_FREE", 1e9)
    assert main(["doctor"]) == 1
    assert "PROBLEM: this folder" in capsys.readouterr().out
