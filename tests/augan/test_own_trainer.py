"""`--trainer FILE.py:CLASS`: the example of docs/methods.md trains, resumes, and is named by what it exports."""

import json
import math
import shutil
import sys
from pathlib import Path

import pytest

from gen.cli import main
from tests.test_docs import WHOLE_FILES

QUICK = ["images=8", "log_every=2", "sample_every=100", "device=cpu", "width=4", "blocks=1", "transfer_blocks=1"]
QUICK += ["discriminator_width=4", "load_height=64", "crop=[64,64]"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "code" / "edge_loss.py"
    file.parent.mkdir()
    file.write_text(WHOLE_FILES[file.name], encoding="utf-8")
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield file
    sys.modules.pop("edge_loss", None)


def train(two_domains: tuple[Path, Path], out: Path, *words: str, trainer: object = None, quick: bool = True) -> int:
    night, day = two_domains
    sets = [word for setting in QUICK * quick for word in ("--set", setting)]
    own = ["--trainer", str(trainer)] if trainer else []
    where = ["--adverse", str(night), "--normal", str(day), "--out", str(out), "--preset", "tiny"]
    return main(["train-augan", *where, *own, *sets, *words])


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss/edges"] for line in lines if "loss/edges" in line]


def test_the_example_of_the_docs(two_domains, tmp_path, file, capsys, caplog):
    own = f"{file}:EdgeTrainer"
    assert train(two_domains, tmp_path / "run", "--set", "edge_weight=0.5", trainer=own) == 0
    assert train(two_domains, tmp_path / "twice", "--set", "edge_weight=1", trainer=own) == 0
    half, whole = losses(tmp_path / "run"), losses(tmp_path / "twice")
    assert len(half) == 4
    assert math.isclose(whole[0], 2 * half[0], rel_tol=1e-3)  # the first step's networks are the same
    assert main(["export-augan", str(tmp_path / "run"), str(tmp_path / "edges")]) == 0
    record = json.loads((tmp_path / "edges" / "training.json").read_text())
    assert record["trainer"]["class"] == "edge_loss:EdgeTrainer"
    assert record["settings"]["edge_weight"] == 0.5
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["trainer"] == record["trainer"]

    # Without --trainer the run is not resumed; a file that has changed is told.
    capsys.readouterr()
    assert train(two_domains, tmp_path / "run", "--set", "images=10") == 1
    assert "trainer was edge_loss:EdgeTrainer when this run began and is gen's own now" in capsys.readouterr().err
    file.write_text(file.read_text() + "\n# another thought\n")
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["trainer"] == record["trainer"]
    sys.modules.pop("edge_loss")
    more = ["--set", "edge_weight=0.5", "--set", "images=10"]
    assert train(two_domains, tmp_path / "run", *more, trainer=own) == 0
    assert "the file of trainer edge_loss:EdgeTrainer has changed" in caplog.text
    resumed = json.loads((tmp_path / "run" / "settings.json").read_text())["trainer"]
    assert resumed["file_sha256"] != record["trainer"]["file_sha256"]
    assert resumed["earlier_file_sha256"] == [record["trainer"]["file_sha256"]]


def test_what_is_no_trainer_is_told(two_domains, tmp_path, file, capsys):
    for own in (f"{file}:Missing", f"{file}:EdgeSettings", "gen.hda.training:HDATrainer"):
        assert train(two_domains, tmp_path / "run", trainer=own) == 1
        assert "name a subclass of gen.augan.training.AUGANTrainer" in capsys.readouterr().err
    assert train(two_domains, tmp_path / "run", "--set", "edge_weight=1") == 1
    assert "unknown setting 'edge_weight'" in capsys.readouterr().err
    assert train(two_domains, tmp_path / "run", trainer=tmp_path / "none.py:X") == 1
    assert "none.py: no such file" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_its_settings_are_listed(file, capsys):
    with pytest.raises(SystemExit):
        main(["train-augan", "--trainer", f"{file}:EdgeTrainer", "--set", "help"])
    assert "edge_weight=2.0  (number)\n    Weight of the distance between the edges" in capsys.readouterr().out


def test_a_dry_run_times_it(two_domains, tmp_path, file, capsys):
    assert train(two_domains, tmp_path / "run", "--dry-run", trainer=f"{file}:EdgeTrainer") == 0
    assert "edge_weight: 2.0" in capsys.readouterr().out
    shutil.rmtree(file.parent)
