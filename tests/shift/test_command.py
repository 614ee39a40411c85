"""`gen measure-shift` on small folders of pictures: layouts, tables, plots, and all that a person can get wrong."""

import csv
import dataclasses
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gen.errors import BadInput, BadSetting
from gen.shift import representations
from gen.shift.commands import measure_shift
from gen.shift.folders import find_domains
from gen.shift.measures import DomainStatistics, Estimate
from gen.shift.plots import Dot, draw_heat_map, draw_scatter
from gen.shift.settings import MeasureShiftSettings
from gen.shift.survey import Survey, run
from gen.smos.benchmarks import check_classes, find_benchmark


def write_class(folder: Path, count: int, brightness: int, seed: int = 0) -> Path:
    """Noise around a brightness that differs from picture to picture."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        level = brightness + rng.integers(-40, 40)
        noise = rng.normal(level, 25, (24, 32, 3))
        Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def write_styles(folder: Path) -> Path:
    """Two domains of two classes: folder/{dim,light}/{cat,dog}/N.png."""
    for i, (domain, brightness) in enumerate({"dim": 60, "light": 180}.items()):
        for j, label in enumerate(("cat", "dog")):
            write_class(folder / domain / label, 5 + j, brightness, seed=2 * i + j)
    return folder


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    return write_styles(tmp_path / "styles")


def measure(*arguments: str | Path) -> int:
    return measure_shift([*map(str, arguments), "--resamples", "50"])


def record(out: Path) -> dict[str, Any]:
    return json.loads((out / "table.json").read_text(encoding="utf-8"))


def by_name(out: Path) -> dict[str, dict[str, Any]]:
    return {row["domain"]: row for row in record(out)["domains"]}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run on the two domains left."""
    root = tmp_path_factory.mktemp("run")
    assert measure(write_styles(root / "styles"), "--out", root / "out", "--relative-to", "dim", "--seed", "5") == 0
    return root / "out"


class TestOutput:
    def test_table(self, out: Path) -> None:
        table = by_name(out)
        assert list(table) == ["dim", "light"]
        assert (table["dim"]["images"], table["dim"]["classes"]) == (11, 2)
        for row in table.values():
            assert row["icv"] > 0
            assert 0 <= row["idd_low"] <= row["idd_high"] <= math.log(2)
        assert table["dim"]["icv_ratio"] == 1
        assert table["light"]["icv_ratio"] == pytest.approx(table["light"]["icv"] / table["dim"]["icv"])

    def test_csv_says_the_same(self, out: Path) -> None:
        with (out / "table.csv").open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        assert lines == [{name: str(value) for name, value in row.items()} for row in by_name(out).values()]

    def test_pairwise(self, out: Path) -> None:
        (pair,) = record(out)["pairwise_idd"]
        assert (pair["a"], pair["b"]) == ("dim", "light")
        assert 0.3 < pair["idd_low"] <= pair["idd"] <= pair["idd_high"] < math.log(2)

    def test_plots(self, out: Path) -> None:
        for plot in ("scatter.png", "pairwise.png"):
            with Image.open(out / plot) as image:
                assert min(image.size) > 400

    def test_record_says_how_and_names_no_home(self, out: Path) -> None:
        found = record(out)
        assert found["settings"]["seed"] == 5
        assert found["versions"]["numpy"] == np.__version__
        assert not any(os.path.isabs(path) for path in (*found["settings"]["roots"], found["settings"]["out"]))

    def test_again_alone_and_without_reading_a_picture(
        self, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A domain has the same numbers in any company."""
        light = out.parent / "styles" / "light"
        monkeypatch.setattr(representations, "decode_still", None)
        assert measure(light, "--out", tmp_path / "second", "--cache", out / "cache", "--seed", "5") == 0
        (again,) = record(tmp_path / "second")["domains"]
        assert again.items() <= by_name(out)["light"].items()
        assert f"{again['icv']:.5f}" in capsys.readouterr().out


def test_every_setting_of_the_measure_arrives(styles: Path, tmp_path: Path) -> None:
    (folder, _) = find_domains([styles], tmp_path)
    (tmp_path / "cache").mkdir()

    def read(**changes: int) -> DomainStatistics:
        chosen = MeasureShiftSettings(roots=(styles,), out=tmp_path, resamples=20)
        return Survey(dataclasses.replace(chosen, **changes)).read(folder).statistics

    plain = read()
    assert not np.allclose(read(balanced=True).mean.value, plain.mean.value, rtol=1e-3)
    assert read(seed=1).icv.estimate().low != plain.icv.estimate().low
    assert read(pairs=2).icv.value != plain.icv.value
    assert read(resamples=7).icv.resampled.shape == (7,)


def test_domains_do_not_share_their_draws(styles: Path, tmp_path: Path) -> None:
    """Else the noise of two domains would cancel in the interval of their IDD."""
    (folder, _) = find_domains([styles], tmp_path)
    (tmp_path / "cache").mkdir()
    survey = Survey(MeasureShiftSettings(roots=(styles,), out=tmp_path, resamples=20))
    means = [survey.read(dataclasses.replace(folder, name=name)).statistics.mean for name in ("one", "other")]
    assert np.array_equal(means[0].value, means[1].value)
    assert not np.allclose(means[0].resampled, means[1].resampled, rtol=1e-3)


class TestReference:
    def test_a_folder(self, styles: Path, tmp_path: Path) -> None:
        """A domain is at 0 from itself; classes of the reference count if they are to be balanced."""
        out = tmp_path / "out"
        assert measure(styles, "--out", out, "--reference", styles / "dim", "--balanced") == 0
        table = by_name(out)
        assert table["dim"]["idd"] == 0
        assert table["light"]["idd"] == pytest.approx(record(out)["pairwise_idd"][0]["idd"])

    def test_colours_need_a_folder_or_none(self, styles: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        with pytest.raises(
            BadSetting, match=r"luma only; with representation=hsv4 set it to a folder of images, or to none"
        ):
            measure(styles, "--out", out, "--representation", "hsv4")
        assert measure(styles, "--out", out, "--representation", "hsv4", "--reference", "none") == 0
        assert "idd" not in by_name(out)["dim"]
        assert (out / "pairwise.png").exists()
        assert not (out / "scatter.png").exists()

    def test_network_features(self, tmp_path: Path) -> None:
        roots = [write_class(tmp_path / name, 3, brightness) for name, brightness in (("dim", 60), ("light", 180))]
        options = ("--representation", "features", "--reference", roots[0])
        assert measure(*roots, "--out", tmp_path / "out", *options) == 0
        assert by_name(tmp_path / "out")["dim"]["idd"] == 0 < by_name(tmp_path / "out")["light"]["idd"]


class TestLayout:
    def domains(self, *roots: Path) -> dict[str, int]:
        return {domain.name: len(domain.files) for domain in find_domains(roots, Path("nowhere"))}

    def test_depth_tells_domains_from_classes(self, styles: Path) -> None:
        assert self.domains(styles) == {"dim": 11, "light": 11}
        assert self.domains(styles / "light", styles / "dim") == {"light": 11, "dim": 11}
        assert self.domains(styles / "dim" / "dog") == {"dog": 6}

    def test_namesakes_get_their_parents(self, tmp_path: Path) -> None:
        roots = [write_class(tmp_path / p / "photo", 1, 9) for p in ("a", "b", "x/c", "y/c")]
        names = self.domains(*roots, write_class(tmp_path / "sketch", 1, 9))
        assert list(names) == ["a/photo", "b/photo", "x/c/photo", "y/c/photo", "sketch"]

    def test_a_name_is_found_where_the_path_has_none(self, styles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(styles / "dim")
        assert self.domains(Path()) == {"dim": 11}

    @pytest.mark.parametrize("stray", ["stray.png", "dim/stray.png", "dim/cat/deep/stray.png"])
    def test_images_at_several_depths(self, stray: str, styles: Path) -> None:
        (styles / stray).parent.mkdir(exist_ok=True)
        shutil.copy(styles / "dim" / "cat" / "0.png", styles / stray)
        with pytest.raises(BadInput, match=r"all images must be at the same depth, .*stray\.png"):
            self.domains(styles)

    def test_images_too_deep(self, styles: Path) -> None:
        with pytest.raises(BadInput, match="DOMAIN/CLASS/IMAGE"):
            self.domains(styles.parent)

    def test_a_domain_given_twice(self, styles: Path) -> None:
        for again in (styles / "dim", styles / "light" / ".." / "dim"):
            with pytest.raises(BadInput, match="dim: this folder is given twice"):
                self.domains(styles, again)

    def test_plots_of_an_earlier_run_are_no_images(
        self, styles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        measure(styles, "--out", tmp_path / "out", "--reference", "none")
        for place in (styles / "dim" / "out", styles / "light" / "cat" / "out", styles / "out", styles):
            shutil.copytree(tmp_path / "out", place, dirs_exist_ok=True)
            caplog.clear()
            found = find_domains([styles], tmp_path / "second")
            assert {domain.name: len(domain.files) for domain in found} == {"dim": 11, "light": 11}
            assert f"left out: {place} is a result of gen measure-shift" in caplog.text
        shutil.rmtree(styles / "light" / "cat" / "out")
        name, folders = find_benchmark(styles)
        assert (list(folders), check_classes(name, folders)) == (["dim", "light"], ("cat", "dog"))

    def test_pictures_of_the_same_names_are_images(self, styles: Path) -> None:
        (styles / "dim" / "cat" / "0.png").rename(styles / "dim" / "cat" / "scatter.png")
        (styles / "dim" / "cat" / "table.json").write_text('{"domains": [{"name": "cat"}]}')
        found = find_domains([styles], styles / "results")
        assert {domain.name: len(domain.files) for domain in found} == {"dim": 11, "light": 11}

    def test_plots_within_the_tree_are_no_images(self, styles: Path) -> None:
        write_class(styles / "results" / "shift", 1, 60)
        found = find_domains([styles], styles / "results" / "shift")
        assert [domain.name for domain in found] == ["dim", "light"]


class TestBadInput:
    def test_no_folder_and_no_images(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match=r"gone: no such folder"):
            measure(tmp_path / "gone", "--out", tmp_path / "out")
        (tmp_path / "empty").mkdir()
        with pytest.raises(BadInput, match=r"empty: no images"):
            measure(tmp_path / "empty", "--out", tmp_path / "out")
        with pytest.raises(BadInput, match=r"gone: no such folder"):
            measure(write_class(tmp_path / "a", 3, 9), "--out", tmp_path / "out", "--reference", tmp_path / "gone")
        assert not (tmp_path / "out").exists()

    def test_too_few_images_for_icv(self, styles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What is left out of ICV is said, and counts for IDD."""
        write_class(styles / "dim" / "lone", 1, 60)
        flat = write_class(tmp_path / "flat", 4, 100)
        for label in ("a", "b"):
            write_class(tmp_path / "tiny" / label, 1, 60)
        out = tmp_path / "out"
        assert measure(styles, flat, tmp_path / "tiny", "--out", out, "--relative-to", "tiny") == 0
        table = by_name(out)
        assert table["tiny"]["icv"] is None
        assert table["tiny"]["idd"] > 0
        assert table["dim"]["icv_ratio"] is None
        assert (table["dim"]["images"], table["flat"]["classes"]) == (12, 1)
        notes = record(out)["notes"]
        assert notes == [
            "dim: 1 of 3 classes have fewer than 3 images and are left out of ICV: lone.",
            "flat: no class folders, so all images count as one class.",
            "tiny: no class has 3 images, so ICV is not defined.",
        ]
        printed = capsys.readouterr().out
        assert "not defined" in printed
        assert all(note in printed for note in notes)
        matrix = printed.partition("IDD of each from each, nats:\n")[2].split("\n")
        assert matrix[0].split()[:4] == ["dim", "light", "flat", "tiny"]
        pairs = {(pair["a"], pair["b"]): pair["idd"] for pair in record(out)["pairwise_idd"]}
        assert matrix[1].split()[:4] == ["dim", "0.0000", *(f"{pairs['dim', b]:.4f}" for b in ("light", "flat"))]

    def test_an_unreadable_file(self, styles: Path, tmp_path: Path) -> None:
        bad = styles / "dim" / "cat" / "0.png"
        bad.write_bytes(b"no picture")
        assert measure(styles, "--out", tmp_path / "out") == 1
        assert by_name(tmp_path / "out")["dim"]["images"] == 10
        (path,) = record(tmp_path / "out")["failed"]
        assert path.endswith("dim/cat/0.png")
        assert not os.path.isabs(path)

    def test_nothing_readable(self, tmp_path: Path) -> None:
        folder = write_class(tmp_path / "bad", 3, 60)
        for file in folder.iterdir():
            file.write_bytes(b"no picture")
        with pytest.raises(BadInput, match="none of its 3 images"):
            measure(folder, "--out", tmp_path / "out")

    def test_an_output_folder_that_cannot_be(self, styles: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(BadSetting, match="file is a file; give a folder"):
            measure(styles, "--out", tmp_path / "file")
        with pytest.raises(BadInput, match="the output folder is also a folder of images"):
            measure(styles, "--out", styles)

    def test_an_unknown_anchor(self, styles: Path, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="unknown domain 'photo'; available: dim, light"):
            measure(styles, "--out", tmp_path / "out", "--relative-to", "photo")

    @pytest.mark.parametrize(("name", "value"), [("pairs", 1), ("resamples", -1), ("seed", -1), ("workers", 0)])
    def test_numbers_out_of_range(self, name: str, value: int, styles: Path, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match=f"{name} must be at least .*, not {value}"):
            run(MeasureShiftSettings(roots=(styles,), out=tmp_path / "out", **{name: value}))

    def test_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="give at least one"):
            run(MeasureShiftSettings(roots=(), out=tmp_path))


class TestPlots:
    def test_undefined_and_missing_intervals_are_drawn_around(self, tmp_path: Path) -> None:
        nan = math.nan
        dots = [
            Dot("undefined", Estimate(nan, nan, nan), Estimate(0.1, 0.05, 0.2)),
            Dot("$no interval$_", Estimate(0.01, nan, nan), Estimate(0.1, nan, nan)),
            Dot("interval below", Estimate(0.02, 0.01, 0.015), Estimate(0.002, 0.0, 0.001)),
        ]
        draw_scatter(tmp_path / "some.png", dots, "ImageNet", "luma32")
        draw_scatter(tmp_path / "none.png", dots[:1], "ImageNet", "luma32")
        draw_heat_map(tmp_path / "one.png", ["alone"], np.zeros((1, 1)), "luma32")
        assert len(list(tmp_path.glob("*.png"))) == 3


def test_pacs_lies_as_in_the_paper(shared_data: Path, tmp_path: Path) -> None:
    """35 images a class. IDD: photo < art < cartoon < sketch; ICV: sketch far below photo < art < cartoon."""
    for folder in (shared_data / "pacs128").glob("*/*"):
        links = tmp_path / "pacs" / folder.parent.name / folder.name
        links.mkdir(parents=True)
        files = sorted(folder.iterdir())
        for file in files[:: len(files) // 35][:35]:
            (links / file.name).symlink_to(file)
    assert measure(tmp_path / "pacs", "--out", tmp_path / "out", "--relative-to", "photo") == 0
    table = by_name(tmp_path / "out")
    names = ["photo", "art_painting", "cartoon", "sketch"]
    far = [table[name]["idd"] for name in names]
    assert far == sorted(far)
    assert far == pytest.approx([0.001, 0.007, 0.181, 0.465], abs=0.02)  # of all 9,991 images
    varied = [table[name]["icv"] for name in names]
    assert varied[0] < varied[1] < varied[2]
    assert varied[3] < varied[0] / 50


def test_a_domain_of_one_picture_has_no_intervals(tmp_path, styles):
    one = write_class(tmp_path / "one", 1, 60)
    assert measure(one, styles / "dim" / "cat", "--out", tmp_path / "s") == 0
    row = by_name(tmp_path / "s")["one"]
    assert row["idd"] > 0
    assert row["idd_low"] is row["idd_high"] is None
    (pair,) = record(tmp_path / "s")["pairwise_idd"]
    assert pair["idd_low"] is None


def test_maps_and_comparisons_beside_translations_are_not_measured(tmp_path, styles):
    plain, out = styles / "dim" / "cat", tmp_path / "out"
    shutil.copytree(plain, out)
    for i in range(3):
        Image.new("RGB", (64, 24), "orange").save(out / f"{i}.png.compare.png")
        Image.new("RGB", (32, 24), "purple").save(out / f"{i}.png.uncertainty.png")
    assert measure(plain, out, "--out", tmp_path / "s") == 0
    assert {row["images"] for row in record(tmp_path / "s")["domains"]} == {5}
    assert len({row["icv_mean"] for row in record(tmp_path / "s")["domains"]}) == 1
