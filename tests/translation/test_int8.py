"""`gen export --int8`: a network in 8-bit integers, scaled on frames of the weather that it removes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen.augan.pipeline import AUGANPipeline
from gen.cli import main
from gen.translation.runtimes.sessions import openvino_core
from tests.translation.test_runtimes import LIGHT, augan

HINT = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    augan(**LIGHT).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    random = np.random.default_rng(0)
    for number, size in enumerate([(56, 32), (80, 45), (64, 64)] * 3):
        dark = np.array(
            Image.fromarray(random.integers(0, 90, (4, 7, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
        )
        Image.fromarray(dark).save(folder / f"{number}.png")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    return folder


def kinds(file: Path) -> set[str]:
    return {op.get_type_name() for op in openvino_core().read_model(file).get_ops()}


def test_the_translation_is_near_that_of_torch(model, nights, tmp_path):
    out = tmp_path / "files"
    assert main(["export", str(model), str(out), "--to", "openvino", "--int8", str(nights)]) == 0
    assert "FakeQuantize" in kinds(out / "adverse_to_normal.xml")
    assert "FakeQuantize" not in kinds(out / "normal_to_adverse.xml") | kinds(out / "invention.xml")
    part = AUGANPipeline.from_pretrained(model).parts()["adverse_to_normal"]
    run = openvino_core().compile_model(out / "adverse_to_normal.xml", "CPU", HINT)
    for name in ("1.png", "2.png"):
        image = torch.from_numpy(np.asarray(Image.open(nights / name)).transpose(2, 0, 1)[None] / np.float32(127.5) - 1)
        with torch.no_grad():
            expected = [output.numpy() for output in part.module(image)]
        found = list(run(image.numpy()).values())
        assert [f.shape for f in found] == [e.shape for e in expected]
        away = np.abs(found[0] - expected[0]).mean() * 127.5
        assert 0 < away < 3, away  # grey levels; the frames themselves are farther away than that
        assert np.abs(image.numpy() - expected[0]).mean() * 127.5 > 2 * away
    text = (out / "README.md").read_text()
    assert [line for line in text.splitlines() if "8-bit" in line] == [
        line for line in text.splitlines() if line.startswith("- `adverse_to_normal")
    ]


def test_what_cannot_be_is_a_sentence(model, nights, tmp_path, capsys):
    narrow, empty = tmp_path / "narrow", tmp_path / "empty"
    narrow.mkdir()
    empty.mkdir()
    Image.new("RGB", (10, 320)).save(narrow / "a.png")
    for options, said in (
        (["--int8", str(nights)], "int8 is of the format openvino; set --to openvino too."),
        (["--to", "openvino", "--int8", str(tmp_path / "none")], f"{tmp_path / 'none'}: no such folder."),
        (["--to", "openvino", "--int8", str(empty)], f"{empty}: no images in this folder or its sub-folders."),
        (["--to", "openvino", "--int8", str(narrow)], "is too narrow: at 32 rows it has 1 columns"),
    ):
        out = tmp_path / "out"
        assert main(["export", str(model), str(out), *options]) != 0
        assert said in capsys.readouterr().err
        assert not out.exists()
    assert main(["export", "stylegan2-faces64", str(tmp_path / "g"), "--to", "openvino", "--int8", str(nights)]) != 0
    assert "stylegan2-faces64 is a generator; only translators are reduced" in capsys.readouterr().err
