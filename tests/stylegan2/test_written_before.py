"""A run directory written when the trainer was in gen.hda."""

import json
import shutil
from pathlib import Path

import pytest

from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import StyleGAN2Trainer
from gen.training.settings import make_settings
from tests.stylegan2.conftest import write_pictures


def test_a_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(Path(__file__).parent / "written_before", tmp_path / "run")
    monkeypatch.chdir(tmp_path)  # the run recorded its folder of images relative to here
    write_pictures(tmp_path / "runs" / "data" / "boxes", 8, (90, 160, 90), size=40)
    recorded = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    trainer = StyleGAN2Trainer(make_settings(StyleGAN2Settings, recorded, {"images": 16}))
    trainer.fit()
    assert trainer.images_shown == 16
    assert "at 8 of 16 images" in capsys.readouterr().out
