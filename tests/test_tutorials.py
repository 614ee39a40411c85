"""The tutorials run as they are written, with few frames, and seconds in place of hours."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import BLOCK, ROOT

DETECTOR = "yolox_nano.onnx"


def run(page: str, folder: Path, **smaller: object) -> str:
    """Run all shell commands of a page in a folder; returns what they print. `smaller`: values of its variables."""
    blocks = [code for kind, code in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")) if kind == "sh"]
    if not (folder / DETECTOR).exists():
        blocks = [code for code in blocks if DETECTOR not in code]
    script = "".join(blocks)
    for name, value in smaller.items():
        script, found = re.subn(rf"(export.*\b{name})=\S+", rf"\1={value}", script)
        assert found == 1, f"{page}: no variable {name}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # GEN_WEIGHTS: a tutorial begins in the repository, the test in a folder of its own.
    environment = os.environ | {"PATH": path, "GEN_WEIGHTS": str(ROOT / "weights"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def faces_of(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.png") if file.name != "grid.png"]


@pytest.mark.timeout(1200)
@pytest.mark.skipif(os.name == "nt", reason="its commands are of a Unix shell")
class TestTutorials:
    def test_twenty_thousand_night_frames(self, tmp_path):
        (tmp_path / "samples").symlink_to(ROOT / "samples")
        data = Path(os.environ.get("GEN_SHARED_DATA", ROOT.parent / "shared" / "data"))
        if (data / "models" / DETECTOR).exists():
            (tmp_path / DETECTOR).symlink_to(data / "models" / DETECTOR)
        printed = run("night-frames.md", tmp_path)
        assert "'done': 6" in printed or "'skipped': 6" in printed
        assert len(list((tmp_path / "day").glob("*.uncertainty.png"))) == 6
        assert len(list((tmp_path / "try" / "out").rglob("*.compare.jpg"))) == 6

    @pytest.mark.slow
    def test_ten_sketches(self, tmp_path):
        for number, name in enumerate(("sketches", "sunglasses")):
            faces = tmp_path / f"faces{number}"
            draw = ["gen", "generate", "--adaptation", "faces64-sketch-sunglasses", "--out", str(faces)]
            draw += ["--seeds", "0-4" if number else "5-9"]
            subprocess.run(
                [Path(sys.executable).parent / draw[0], *draw[1:]], check=True, cwd=ROOT, capture_output=True
            )
            (tmp_path / name).mkdir()
            for file in faces_of(faces):
                shutil.copy(file, tmp_path / name)
        run("ten-sketches.md", tmp_path, SAMPLES=160)
        assert len(faces_of(tmp_path / "drawn")) == 16

    @pytest.mark.slow
    def test_a_claim(self, tmp_path):
        run("a-claim.md", tmp_path, FRAMES=12, HELD_OUT=4, MINUTES=0.1, SEEDS=1)
        table = (tmp_path / "runs" / "claim" / "README.md").read_text("utf-8")
        assert "with-uncertainty" in table
        assert "without-uncertainty" in table
