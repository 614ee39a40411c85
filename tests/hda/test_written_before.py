"""Files written before StyleGAN2 became a package of its own, when model_index.json named gen.hda.networks."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from gen.hda.adaptation import Adaptation
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.training.settings import make_settings
from tests.stylegan2.conftest import write_pictures

BEFORE = Path(__file__).parent / "written_before"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to work in; the run recorded paths relative to it."""
    shutil.copytree(BEFORE, tmp_path / "before")
    monkeypatch.chdir(tmp_path / "before")
    return tmp_path / "before"


def test_a_model_folder_loads_with_its_adaptations(folder: Path) -> None:
    assert json.loads((folder / "model" / "model_index.json").read_text())["generator"][0] == "gen.hda.networks"
    pipe = HDAPipeline.from_pretrained(folder / "model")
    assert pipe.strengths == {"red": 0.5}
    drawn = torch.stack(pipe(seeds=[0, 1], output_type="pt").images)
    pixels = torch.tensor([[0.2376, 0.6722, 0.3769], [0.0560, 0.8013, 0.6685]])  # as the code of then drew them
    torch.testing.assert_close(drawn[:, :, 8, 8], pixels, atol=1e-3, rtol=0)


def test_saved_again_it_names_the_present_module(folder: Path) -> None:
    pipe = HDAPipeline.from_pretrained(folder / "model")
    pipe.save_pretrained(folder / "again")
    assert json.loads((folder / "again" / "model_index.json").read_text())["generator"][0] == "gen.stylegan2.networks"
    assert HDAPipeline.from_pretrained(folder / "again").fingerprint == pipe.fingerprint


def test_an_adaptation_file_loads(folder: Path) -> None:
    assert Adaptation.load(folder / "adaptation.safetensors").record["samples"] == 8
    pipe = HDAPipeline.from_pretrained(folder / "model")
    pipe.load_adaptation(folder / "adaptation.safetensors", name="again")
    assert pipe.strengths == {"red": 0.5, "again": 1.0}


def test_a_run_resumes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(folder / "red", 3, (220, 40, 40), size=32)
    recorded = json.loads((folder / "run" / "settings.json").read_text())["settings"]
    del recorded["epochs"]  # of a time when every trainer had it; the checkpoint keeps it in its record
    settings = make_settings(HDASettings, recorded, {"out": folder / "run", "images": 16, "grid_weight": 0})
    pipe = HDAPipeline.from_pretrained(folder / "model")
    pipe.set_strengths(0.0)
    trainer = HDATrainer(settings, pipe.generator)
    trainer.fit()
    assert trainer.images_shown == 16
    assert "at 8 of 16 images" in capsys.readouterr().out
