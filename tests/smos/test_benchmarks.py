"""Folders as the data sets are downloaded, with small made-up pictures: each is trained on and measured."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gen.cli import main
from gen.smos.benchmarks import BENCHMARKS, DUPLICATES, duplicates
from gen.smos.datasets import load_domains

TINY = ["--preset", "cpu", "--seeds", "0", "--method", "erm", *(
    word for pair in ("size=32", "steps=2", "batch=2", "accumulate=1", "swad=false", "device=cpu")
    for word in ("--set", pair)
)]  # fmt: skip


def write(root: Path, domains: Iterable[str], classes: Iterable[str], names: Iterable[str]) -> Path:
    """One picture per domain, class and name; each with a colour of its own."""
    rng, classes, names = np.random.default_rng(0), list(classes), list(names)
    for domain in domains:
        for label in classes:
            (root / domain / label).mkdir(parents=True, exist_ok=True)
            for name in names:
                colours = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8)
                Image.fromarray(colours).resize((70, 50)).save(root / domain / label / name)
    return root


def lines_of_the_list() -> list[str]:
    return [line for line in DUPLICATES.read_text().splitlines() if not line.startswith("#")]


def train(root: Path, target: str, out: Path) -> dict[str, dict[str, int]]:
    """What the run's record says of its data."""
    assert main(["train-smos", "--data", str(root), "--target", target, "--out", str(out), *TINY]) == 0
    assert json.loads((out / "results.json").read_text())["cells"] == {"done": 1, "of": 1}
    (record,) = out.glob("erm/*/settings.json")
    return json.loads(record.read_text())["data"]


# The names of folders and files as they come from the places that DomainBed downloads from.
SHAPES = {
    "VLCS": (["Caltech101", "LabelMe", "SUN09", "VOC2007"], ("0001.jpg", "0002.jpg"), "VOC2007"),
    "OfficeHome": (["Art", "Clipart", "Product", "Real World"], ("00001.jpg",), "Real"),
    "TerraIncognita": (
        ["location_100", "location_38", "location_43", "location_46"],
        ("586ffb6d-23d2-11e8-a6a3-ec086b02610b.jpg", "586ffb6e-23d2-11e8-a6a3-ec086b02610b.JPG"),
        "location_46",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_folder_of_this_shape_is_trained_on(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    domains, files, target = SHAPES[name]
    classes = BENCHMARKS[name].classes
    assert isinstance(classes, tuple)
    root = write(tmp_path / "data", domains, classes, files)
    (root / "ImageInfo.csv").write_text("Art,Clipart\n")
    (root / "__MACOSX").mkdir()
    record = train(root, target, tmp_path / "out")
    assert record["domains"] == dict.fromkeys(BENCHMARKS[name].domains, len(classes) * len(files))
    assert record["classes"] == sorted(classes)
    told = capsys.readouterr().out
    assert f"{name}, preset cpu with" in told
    assert f"| method | {target} |" in told


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 345 classes, one picture each, and some of the pictures on the list."""
    classes = sorted({line.split("/")[1] for line in lines_of_the_list()})
    classes += [f"class_{n}" for n in range(345 - len(classes))]  # those of which no picture is on the list
    root = write(tmp_path_factory.mktemp("x") / "domain_net", BENCHMARKS["DomainNet"].domains, classes, ["a.jpg"])
    for line in lines_of_the_list()[::100]:
        (root / line).write_bytes((root / line).with_name("a.jpg").read_bytes())
    (root / "clipart.zip").touch()
    return root


class TestDomainNet:
    def test_the_list(self) -> None:
        lines = lines_of_the_list()
        assert len(set(lines)) == len(lines) == 9431
        assert {line.split("/")[0] for line in lines} == {"clipart", "infograph", "painting", "real", "sketch"}
        assert "zebra/sketch_344_000133.jpg" in duplicates("DomainNet", "sketch")
        assert not duplicates("DomainNet", "quickdraw")
        assert not duplicates("PACS", "sketch")
        assert "Permission is hereby granted, free of charge" in DUPLICATES.read_text()  # as its licence asks

    def test_its_duplicates_are_left_out(self, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        record = train(root, "quickdraw", tmp_path / "out")
        assert record["domains"] == dict.fromkeys(BENCHMARKS["DomainNet"].domains, 345)
        there = sum(line.startswith("clipart/") for line in lines_of_the_list()[::100])
        assert f"clipart: {there} images of the published list of duplicates are not used" in caplog.text
        assert "quickdraw: " not in caplog.text

    def test_a_folder_from_which_they_were_removed_is_the_same_data(self, root: Path, tmp_path: Path) -> None:
        raw = load_domains(root, 32, tmp_path / "cache").record()
        every = load_domains(root, 32, tmp_path / "cache", "any").record()
        assert sum(every["domains"].values()) == sum(raw["domains"].values()) + len(lines_of_the_list()[::100])
        for line in lines_of_the_list()[::100]:
            (root / line).unlink()
        assert load_domains(root, 32, tmp_path / "cache").record() == raw
