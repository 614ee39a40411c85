"""`gen train-smos --algorithm FILE.py:CLASS`: an algorithm in a file of the user's own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gen.cli import main
from gen.errors import BadSetting
from gen.provenance import fingerprint_file
from gen.smos.algorithms import registry
from gen.smos.methods import Method, parse_method

TINY = ["--preset", "cpu", "--seeds", "0", "--target", "ink", *(
    word for pair in ("size=32", "steps=2", "batch=2", "swad=false", "device=cpu") for word in ("--set", pair)
)]  # fmt: skip

CODE = """
from dataclasses import dataclass

from gen.smos.algorithms.base import Algorithm
from gen.smos.algorithms.erm import ERM


@dataclass(frozen=True)
class Options:
    scale: float = 2.0


class Scaled(ERM):
    options_class = Options

    @classmethod
    def describe(cls, options):
        return f"{options.scale:g} times the cross-entropy"

    def terms(self, batch):
        return {"scaled": self.options.scale * super().terms(batch)["cross_entropy"]}


class Half(Algorithm):
    pass


class Other:
    pass
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = f"own_{tmp_path.name}".replace("-", "_")  # each test a module of its own
    path = tmp_path / f"{name}.py"
    path.write_text(CODE)
    monkeypatch.setattr(sys, "path", sys.path[:])
    return path


def test_it_is_a_row_beside_others(file: Path, domains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), *TINY, "--method", "erm"]
    command += ["--method", f"{file.name}:Scaled", "--method", f"five={file.name}:Scaled,scale=5"]
    assert main(command) == 0
    text, results = (tmp_path / "t" / "table.md").read_text(), (tmp_path / "t" / "results.json").read_text()
    sha = fingerprint_file(file)
    for name, scale in (("Scaled", 2), ("five", 5)):
        own = f"`{file.stem}:Scaled`, a file of its own (SHA-256 begins with {sha})"
        assert f"- {name}: {scale} times the cross-entropy ({own})" in text
        lines = (tmp_path / "t" / name / "ink-0" / "metrics.jsonl").read_text()
        assert "loss/scaled" in lines
    assert str(tmp_path) not in results  # no home is named
    assert main(command) == 0  # all are done

    # The file may be moved, but not changed.
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.move(file, tmp_path / "elsewhere"))
    sys.modules.pop(file.stem)
    command = [word.replace(file.name, str(moved)) for word in command]
    assert main(command) == 0
    moved.write_text(CODE + "\n# another thought\n")
    sys.modules.pop(file.stem)
    assert main(command) == 1


def test_alone(file: Path, domains: Path, tmp_path: Path) -> None:
    """In a process of its own, from another folder."""
    command = ["train-smos", "--data", domains, "--out", tmp_path / "t", *TINY, "--algorithm", f"{file}:Scaled"]
    there = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}}
    done = subprocess.run([sys.executable, "-m", "gen.cli", *command], capture_output=True, text=True, **there)  # pyright: ignore
    assert done.returncode == 0, done.stderr
    assert "| Scaled |" in done.stdout
    record = json.loads((tmp_path / "t" / "Scaled" / "ink-0" / "settings.json").read_text())
    assert record["data"]["algorithm's code"]["file_sha256"] == fingerprint_file(file)


def test_names(file: Path) -> None:
    own = f"{file}:Scaled"
    assert parse_method(own) == Method("Scaled", own)
    assert parse_method(f"a={own}:smd-precursor,scale=3") == Method("a", own, "smd-precursor", {"scale": 3})
    assert registry.find(own).__name__ == "Scaled"


@pytest.mark.parametrize("name", ["Nothing", "Other", "Half", ""])
def test_what_is_no_algorithm(name: str, file: Path, domains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadSetting, match=r"name a subclass of gen\.smos\.algorithms\.base\.Algorithm"):
        registry.find(f"{file}:{name}")
    assert main(["train-smos", "--data", str(domains), "--algorithm", f"{file}:{name}", *TINY]) == 1
    assert f"{file.name}:{name}: name a subclass of" in capsys.readouterr().err


def test_a_file_that_is_not_there(domains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-smos", "--data", str(domains), "--method", "nowhere.py:Mine", *TINY]) == 1
    assert "nowhere.py: no such file." in capsys.readouterr().err
