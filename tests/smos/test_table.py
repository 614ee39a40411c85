"""The commands as a person runs them, on three tiny domains."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gen.cli import main
from gen.errors import BadSetting
from gen.smos import table
from gen.smos.algorithms import registry
from gen.smos.algorithms.base import Batch, Terms
from gen.smos.algorithms.erm import ERM
from gen.smos.analysis import (
    MEASURES,
    DomainFeatures,
    class_js_divergence,
    correlations,
    js_divergence,
    proxy_a_distance,
)
from gen.smos.backbones import make_backbone
from gen.smos.classifiers import load_classifier, save_classifier
from gen.smos.markdown import as_markdown
from gen.smos.methods import Method, parse_method
from gen.smos.settings import SMOSSettings
from gen.smos.table import Cell, cell_settings, plan
from tests.smos.conftest import write_domains

TINY = [
    "--preset", "cpu", "--set", "size=32", "--set", "steps=4", "--set", "evaluate_every=2", "--set", "batch=2",
    "--set", "device=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def precursor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    data, val = write_domains(root / "train", count=4), write_domains(root / "val", count=3, seed=5)
    arguments = ["--data", data, "--val", val, "--out", root / "run", "--export", root / "model", "--leave-out", "each"]
    tiny = ["--preset", "cpu", *TINY[2:]]
    assert main(["train-precursor", *map(str, arguments), *tiny]) == 0
    return root / "model"


def test_precursor_is_written_with_its_card(precursor: Path) -> None:
    card = (precursor / "MODEL_CARD.md").read_text()
    record = json.loads((precursor / "training.json").read_text())
    assert record["leave_one_style_out"].keys() == {"art", "flat", "ink"}
    for style, value in record["leave_one_style_out"].items():
        assert f"| {style} | {value:.1%} |" in card
    assert "ImageNet weights" in card
    assert "in 3 styles (art, flat, ink)" in card
    assert str(precursor.parent) not in json.dumps(record)  # no home is named
    assert "Data: images of the folder train, not known to be drawn by gen, 32 pixels" in card


def test_held_out_images_that_changed_are_told(precursor: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = precursor.parent
    command = ["train-precursor", "--data", root / "train", "--val", root / "val", "--out", root / "run"]
    command += ["--preset", "cpu", *TINY[2:]]
    assert main([str(c) for c in command]) == 0
    more = root / "val" / "ink" / "disc" / "more.png"
    shutil.copy(more.with_name("000.png"), more)
    assert main([str(c) for c in command]) == 1
    assert "held_out.ink was " in capsys.readouterr().err
    more.unlink()


@pytest.mark.slow
def test_table_goes_on_where_it_stopped(
    precursor: Path, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), "--seeds", "0,1",
               "--target", "art,ink", "--method", "erm", "--method", f"smos+=smos:{precursor}", *TINY]  # fmt: skip
    trained: list[str] = []
    real = table.SMOSTrainer

    def counting(settings: SMOSSettings) -> table.SMOSTrainer:
        trained.append(settings.out.name)
        if len(trained) == 4:
            raise KeyboardInterrupt
        return real(settings)

    monkeypatch.setattr(table, "SMOSTrainer", counting)
    assert main(command) == 130
    assert len(trained) == 4
    half_done = tmp_path / "half" / "erm" / "art-0"
    shutil.copytree(tmp_path / "t" / "erm" / "art-0", half_done)
    (half_done / table.RESULTS).unlink()
    assert main([*command, "--out", str(tmp_path / "half"), "--set", "steps=9"]) == 1  # all rows have one length
    assert "steps was 4 when this run began and is 9 now" in capsys.readouterr().err
    assert main(command) == 0
    assert len(trained) == 4 + 8 - 3
    text = (tmp_path / "t" / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert "8 of 8 cells done" in text
    results = json.loads((tmp_path / "t" / "results.json").read_text())
    assert {tuple(v) for row in results["accuracy"]["SWAD"].values() for v in row.values()} == {("0", "1")}
    assert len(results["machines"]) == 8
    assert results["machines"]["smos+/ink-1"]["cores"] == os.cpu_count()
    assert (tmp_path / "t" / "smos+" / "ink-1" / "model" / "config.json").is_file()
    assert not list((tmp_path / "t").glob("*/*/checkpoints"))
    assert main([*command, "--set", "lr=0.01"]) == 1  # other settings do not stand over old numbers
    assert "lr was 0.0001 when this run began and is 0.01 now" in capsys.readouterr().err
    assert main([*command, "--set", "decay=0.5"]) == 1
    assert "decay was 0.0 when this run began and is 0.5 now" in capsys.readouterr().err

    earlier = shutil.copytree(tmp_path / "t" / "erm", tmp_path / "t" / "earlier")  # of another table in this folder
    out = tmp_path / "analysis"
    out.mkdir()
    (out / "embedding-earlier-ink.png").touch()
    assert main(["analyse-smos", str(tmp_path / "t"), "--data", str(domains), "--out", str(out), "--images", "20"]) == 0
    results = json.loads((out / "analysis.json").read_text())
    assert len(results["cells"]) == 8
    assert results["correlation"]["JS"]["cells"] == 4
    assert "| smos+ | ink | 1 |" in (out / "analysis.md").read_text()
    assert (out / "analysis.md").read_text().startswith("shapes, preset cpu with batch=2, size=32, ")
    assert len(list(out.glob("embedding-*.png"))) == 4
    shutil.rmtree(earlier)
    more = shutil.copytree(domains, tmp_path / "more")
    shutil.copy(next((more / "art" / "disc").glob("0*.png")), more / "art" / "disc" / "more.png")
    analysis = ["analyse-smos", str(tmp_path / "t"), "--data", str(more), "--out", str(out), "--images", "20"]
    assert main(analysis) == 1
    assert "it was trained on other images" in capsys.readouterr().err
    cell = tmp_path / "t" / "erm" / "ink-1"
    assert main(["analyse-smos", str(cell), "--data", str(domains), "--out", str(out)]) == 1
    assert "no results.json in this folder" in capsys.readouterr().err


def test_all_rows_of_a_table_are_measured_on_the_same_images(
    precursor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    val = shutil.copytree(precursor.parent / "val", tmp_path / "val")
    command = ["train-smos", "--data", str(precursor.parent / "train"), "--out", str(tmp_path / "t"), "--seeds", "0",
               "--method", "erm", *TINY, "--set", f"val={val}"]  # fmt: skip
    assert main([*command, "--target", "art"]) == 0
    assert main([*command, "--target", "art"]) == 0
    analysis = ["analyse-smos", str(tmp_path / "t"), "--out", str(tmp_path / "a"), "--images", "20", "--data"]
    assert main([*analysis, str(precursor.parent / "train")]) == 1  # all of it was trained on
    assert "give --data" in capsys.readouterr().err
    assert main([*analysis, str(val)]) == 1
    assert "too few to measure a fifth of them" in capsys.readouterr().err
    shutil.copy(val / "ink" / "disc" / "000.png", val / "ink" / "disc" / "more.png")
    assert main([*command, "--target", "art,ink"]) == 1
    assert "was measured on other images than" in capsys.readouterr().err


def test_all_rows_of_a_table_have_the_same_data(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures that could not be read are no data, and may be removed."""
    data = shutil.copytree(domains, tmp_path / "data")
    (data / "art" / "disc" / "broken.png").write_bytes(b"no")
    command = ["train-smos", "--data", str(data), "--out", str(tmp_path / "t"), "--seeds", "0", "--method", "erm",
               *TINY]  # fmt: skip
    assert main([*command, "--target", "art"]) == 0
    picture = next((data / "art" / "disc").glob("0*.png"))
    shutil.copy(picture, picture.with_name("more.png"))
    assert main([*command, "--target", "art,ink"]) == 1
    assert "art had" in capsys.readouterr().err
    picture.with_name("more.png").unlink()
    picture.with_name("broken.png").unlink()
    assert main([*command, "--target", "art"]) == 0
    relabelled = data / "art" / "bar" / "999.png"
    picture.rename(relabelled)
    (data / "art" / "bar" / "000.png").rename(picture)  # two labels are mended: no count changes
    assert main([*command, "--target", "art,ink"]) == 1
    assert "art had other images then, or the same in other classes" in capsys.readouterr().err
    assert main(["analyse-smos", str(tmp_path / "t"), "--data", str(data), "--out", str(tmp_path / "a")]) == 1
    assert "it was trained on other images" in capsys.readouterr().err
    picture.rename(data / "art" / "bar" / "000.png")
    relabelled.rename(picture)
    assert main([*command, "--target", "art,ink"]) == 0
    record = tmp_path / "t" / "erm" / "ink-0" / "settings.json"
    old = json.loads(record.read_text())
    del old["data"]["image files"]  # of an earlier version
    record.write_text(json.dumps(old))
    assert main([*command, "--target", "art,ink"]) == 0


def test_rows_begin_with_the_same_weights(domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file may be replaced under its name."""
    weights = tmp_path / "mine.safetensors"
    save_file(make_backbone("efficientnet-lite0").network.state_dict(), weights)
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), "--seeds", "0", "--method", "erm",
               *TINY, "--set", f"weights={weights}"]  # fmt: skip
    assert main([*command, "--target", "art"]) == main([*command, "--target", "art"]) == 0
    save_file(make_backbone("efficientnet-lite0").network.state_dict(), weights)
    assert main([*command, "--target", "art,ink"]) == 1
    assert "starting weights was" in capsys.readouterr().err


def test_a_cell_that_diverges_ends_alone(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = table.SMOSTrainer

    class Falls(ERM):
        scale = 1.0

        def terms(self, batch: Batch) -> Terms:
            return {"cross_entropy": batch.prediction.logits.square().mean() * Falls.scale}

    def of_target(settings: SMOSSettings) -> table.SMOSTrainer:
        Falls.scale = 1e9 if settings.target == "flat" else 1.0
        return real(settings)

    monkeypatch.setitem(registry.ALGORITHMS, "erm", registry.Row(Falls, ""))
    monkeypatch.setattr(table, "SMOSTrainer", of_target)
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), "--seeds", "0", "--method", "erm"]
    assert main([*command, *TINY]) == 0
    text = (tmp_path / "t" / "table.md").read_text()
    assert "- diverged: erm, flat, seed 0" in text
    assert "3 of 3 cells done" in text
    assert "flat left out, seed 0: loss cross_entropy became" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "t" / "results.json").read_text())["accuracy"]["SWAD"]["erm"]) == {"art", "ink"}


@pytest.mark.devices
def test_two_processes_are_as_one(domains: Path, tmp_path: Path, gen_command: list[str]) -> None:
    """Batch norms are frozen, so that a step of two processes is the step of one but for rounding."""
    command = ["train-smos", "--data", str(domains), "--target", "ink", "--seeds", "0", "--method", "miro", *TINY]
    command += ["--set", "swad=false", "--set", "lr=1e-5", "--set", "accumulate=1"]
    single = [*gen_command, *command, "--out", str(tmp_path / "one")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "gen.cli"]
    for arguments in (single, [*launch, *command, "--out", str(tmp_path / "two")]):
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 of 1 cells done") == 1  # said once
    one, two = (load_classifier(tmp_path / n / "miro" / "ink-0" / "model").state_dict() for n in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=9e-5, msg=name)
    histories = [json.loads((tmp_path / n / "miro" / "ink-0" / "results.json").read_text()) for n in ("one", "two")]
    machines = [
        json.loads((tmp_path / n / "results.json").read_text())["machines"]["miro/ink-0"] for n in ("one", "two")
    ]
    assert [machine["processes"] for machine in machines] == [1, 2]
    a, b = (h["history"][-1]["validation loss"] for h in histories)
    assert a == pytest.approx(b, rel=1e-3)


@pytest.mark.slow
def test_ray_fills_the_same_table(domains: Path, tmp_path: Path) -> None:
    command = ["train-smos", "--data", str(domains), "--target", "ink", "--seeds", "0,1", "--method", "erm", *TINY]
    assert main([*command, "--out", str(tmp_path / "order")]) == 0
    assert main([*command, "--out", str(tmp_path / "ray"), "--engine", "ray"]) == 0
    order, ray = (json.loads((tmp_path / n / "results.json").read_text())["accuracy"] for n in ("order", "ray"))
    assert order == ray


class TestWhatIsWrongIsNamed:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--method", "erm:x"], "erm uses no precursor"),
            (["--method", "ERM"], "unknown algorithm 'ERM'; did you mean erm"),
            (["--method", "a/b=erm"], "letters, digits"),
            (["--method", "erm", "--method", "erm"], "methods: names must be different"),
            (["--method", "erm,jsweight=2"], "jsweight: neither a setting nor an option of erm; its options: none"),
            (["--method", "erm", "--precursor", "x"], "--precursor belongs to --algorithm"),
            (["--seeds", "0;1", "--method", "erm"], "expected numbers and ranges, for example 0-15,20"),
            (["--seeds=-1", "--method", "erm"], "expected numbers and ranges"),
            (["--seeds", "0-2,1", "--method", "erm"], "a seed is named twice"),
            (["--seeds", "4294967296", "--method", "erm"], "seed must be a whole number from 0 to 4294967295"),
            (["--target", "ink,sea", "--method", "erm"], "unknown domain 'sea'; available: art, flat, ink"),
            (["--method", "erm", "--set", "images=5"], "unknown setting 'images';"),
            (
                ["--method", "erm", "--set", "frozen_norms=false"],
                "batch norms are trained; set swad=false",
            ),
            (["--method", "erm", "--set", "backbone=dinov2"], "use 28 instead of 32"),
            (["--target", "sea", "--method", "erm"], "unknown domain 'sea'; available: art, flat, ink"),
            (["--algorithm", "smos", "--precursor", "nowhere"], "unknown model 'nowhere'"),
            (["--method", "erm", "--set", "step=3"], "unknown setting 'step';"),
        ],
    )
    def test_train_smos(
        self, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
    ) -> None:
        assert main(["train-smos", "--data", str(domains), "--out", str(tmp_path), *arguments, *TINY]) == 1
        assert message in capsys.readouterr().err

    def test_smos_of_another_network_than_the_shipped_precursors(
        self, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["train-smos", "--data", str(domains), "--out", str(tmp_path)]) == 1
        told = capsys.readouterr().err
        assert "needs a precursor with the backbone resnet50" in told
        assert "--preset cpu" in told

    def test_train_precursor(self, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = ["train-precursor", "--data", str(domains), "--out", str(tmp_path), "--leave-out", "each"]
        assert main(command) == 1
        assert "--leave-out needs two folders" in capsys.readouterr().err

    def test_analyse_smos(self, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["analyse-smos", str(tmp_path), "--data", str(domains), "--out", str(tmp_path / "o")]) == 1
        assert "no results.json in this folder" in capsys.readouterr().err


def test_the_preset_for_cpus_alone_is_grounded_in_the_shipped_precursor(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path), "--preset", "cpu"]
    assert main([*command, "--target", "ink", "--seeds", "0", "--set", "steps=1", "--set", "swad=false"]) == 0
    told = capsys.readouterr().out
    assert "smos" in told
    assert "shapes, preset cpu with steps=1, swad=False, efficientnet-lite0 at 96 pixels, 1 steps" in told
    record = json.loads((tmp_path / "smos" / "ink-0" / "settings.json").read_text())
    assert record["settings"]["precursor"] == "smd-precursor"


class TestText:
    def test_methods(self) -> None:
        assert parse_method("erm") == Method("erm", "erm")
        assert parse_method("smos+=smos:a/b") == Method("smos+", "smos", "a/b")
        assert parse_method("s5=smos:a,js_weight=5,temperature=0.5") == Method(
            "s5", "smos", "a", {"js_weight": 5, "temperature": 0.5}
        )
        assert parse_method("miro=miro") == Method("miro", "miro")
        assert parse_method("smos(coral):a,gamma=2") == Method("smos-coral", "smos(coral)", "a", {"gamma": 2})
        assert parse_method("both=smos_kl(soma)") == Method("both", "smos_kl(soma)")

    def test_plan_is_whole_for_the_first_seed_first(self, domains: Path, tmp_path: Path) -> None:
        settings = SMOSSettings(data=domains, out=tmp_path)
        cells = plan(settings, [Method("erm", "erm"), Method("miro", "miro")], "all", [0, 1])
        assert [c.seed for c in cells] == [0] * 6 + [1] * 6
        assert cells[0] == Cell(Method("erm", "erm"), "art", 0)
        assert [c.target for c in plan(settings, [Method("erm", "erm")], "Ink, art,ink", [0])] == ["ink", "art"]

    def test_a_row_has_its_own_weights(self, domains: Path, tmp_path: Path) -> None:
        settings = SMOSSettings(data=domains, out=tmp_path)
        cell = Cell(parse_method("m=miro,mi_weight=0.5"), "art", 3)
        own = cell_settings(settings, cell)
        assert (own.algorithm, own.mi_weight, own.seed, own.target) == ("miro", 0.5, 3, "art")
        assert own.out == tmp_path / "m" / "art-3"

    def test_a_table_has_one_network(self, precursor: Path, domains: Path, tmp_path: Path) -> None:
        settings = SMOSSettings(data=domains, out=tmp_path)
        row = parse_method(f"s=smos:{precursor}")
        with pytest.raises(BadSetting, match="is efficientnet-lite0, but the table's backbone is resnet50"):
            plan(settings, [Method("erm", "erm"), row], "all", [0])
        with pytest.raises(BadSetting, match="backbone must be the same for the whole table"):
            plan(settings, [parse_method("erm=erm,backbone=resnet18")], "all", [0])

    def test_a_precursor_trained_anew_under_its_old_name_is_another(
        self, precursor: Path, domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shutil.copytree(precursor, tmp_path / "pre")
        command = ["train-smos", "--data", str(domains), "--out", str(tmp_path / "t"), "--seeds", "0",
                   "--target", "ink", "--method", f"s=smos:{tmp_path / 'pre'}", *TINY]  # fmt: skip
        assert main(command) == main(command) == 0
        again = load_classifier(tmp_path / "pre")
        with torch.no_grad():
            next(again.parameters()).mul_(1.01)
        save_classifier(again, tmp_path / "pre")
        assert main(command) == 1
        assert "precursor weights was " in capsys.readouterr().err

    def test_means_and_standard_errors(self) -> None:
        photo, sketch = {"0": 0.5, "1": 0.7, "2": 0.6}, {"0": 0.1, "1": 0.3, "2": 0.2}
        rows = {
            "erm": {"photo": photo, "sketch": sketch},
            "half": {"photo": {"0": 0.5}},
            "late": {"photo": {"0": 0.1, "1": 0.2}, "sketch": {"1": 0.9}},
        }
        settings = {"backbone": "resnet50", "size": 224, "steps": 5001, "batch": 16, "lr": 3e-5, "preset": "swad"}
        results = {
            "dataset": "PACS",
            "settings": settings,
            "changes": {"lr": 3e-5, "val": "held"},
            "methods": {"erm": {"algorithm": "erm", "js_weight": 1.0, "mi_weight": 0.0, "temperature": 1.0,
                                "changes": {}},
                        "s": {"algorithm": "smos", "js_weight": 5.0, "mi_weight": 0.5, "temperature": 2.0,
                              "changes": {"lr": 0.01}}},
            "diverged": [],
            "cells": {"done": 7, "of": 12},
            "ended_early": [2600, 4000],
            "accuracy": {"oracle": rows, "SWAD": rows},
        }  # fmt: skip
        text = as_markdown(results)
        assert text.startswith("PACS, preset swad with lr=3e-05, val=held, resnet50 at 224 pixels, 5,001 steps")
        assert "| erm | 60.0 ± 5.8 | 20.0 ± 5.8 | 40.0 ± 5.8 |" in text
        assert "| half | 50.0 |  |  |" in text
        assert "| late | 15.0 ± 5.0 | 90.0 | 55.0 |" in text  # seed 1 alone has both
        assert "- erm: cross-entropy\n" in text
        assert "- s: cross-entropy + 5 JS at temperature 2 + 0.5 L_MI to the precursor; lr=0.01\n" in text
        assert "5,001 steps (SWAD ended 2 runs before that, the first after 2,600), 16 images a domain" in text
        assert "| ERM (DomainBed) | 97.2 | 79.3 | 88.2 |" in text  # the mean of what is shown
        assert text.index("Selected by SWAD") < text.index("Selected by oracle (looks at the target")
        assert "Published, not measured here" in text
        assert "Published" not in as_markdown({**results, "settings": {**settings, "backbone": "resnet18"}})


class TestMeasures:
    def test_js_of_what_is_equal_and_what_is_apart(self) -> None:
        g = torch.Generator().manual_seed(0)
        labels = np.arange(60) % 2
        a = DomainFeatures(torch.randn(60, 5, generator=g), labels)
        far = DomainFeatures(a.features + torch.tensor([50.0, 0, 0, 0, 0]), labels)
        assert js_divergence(a, a) == pytest.approx(0, abs=1e-9)
        assert 0 < js_divergence(a, far) < np.log(2)

    def test_classes_that_change_places_are_seen_within_classes_alone(self) -> None:
        features = torch.zeros(40, 3)
        features[:20, 0] = features[20:, 1] = 30
        labels = np.repeat([0, 1], 20)
        a, b = DomainFeatures(features, labels), DomainFeatures(features.flip(0), labels)
        assert js_divergence(a, b) == pytest.approx(0, abs=1e-9)
        assert class_js_divergence(a, b) == pytest.approx(np.log(2), rel=1e-3)

    def test_a_distance(self) -> None:
        g = torch.Generator().manual_seed(0)
        labels = np.zeros(400, np.int64)
        a, b = (DomainFeatures(torch.randn(400, 4, generator=g), labels) for _ in range(2))
        apart = DomainFeatures(b.features + 10, labels)
        assert proxy_a_distance(a, b) < 0.4
        assert proxy_a_distance(a, apart) == 2

    def test_the_probe_is_as_good_as_can_be(self) -> None:
        """Two normal clouds 1.2 standard deviations apart: the best probe errs in Phi(-0.6) of the cases."""
        g = torch.Generator().manual_seed(1)
        labels = np.zeros(4000, np.int64)
        a = DomainFeatures(torch.randn(4000, 6, generator=g), labels)
        b = DomainFeatures(torch.randn(4000, 6, generator=g) + torch.tensor([1.2, 0, 0, 0, 0, 0]), labels)
        error = 0.5 * math.erfc(0.6 / math.sqrt(2))
        assert proxy_a_distance(a, b) == pytest.approx(2 * (1 - 2 * error), abs=0.06)

    def test_equal_accuracies_are_no_correlation(self) -> None:
        """And not NaN, with which analysis.json would be no JSON."""
        figures = {"method": "smos+", "target": "art", "accuracy": 0.5}
        cells = [figures | {"seed": n, "to target": {m: float(n) for m in MEASURES}} for n in range(3)]
        cells += [cell | {"method": "erm"} for cell in cells]
        assert correlations(cells)["JS"]["rho"] == 0

    def test_correlation_is_against_erm_of_the_same_target_and_seed(self) -> None:
        def cell(method: str, target: str, distance: float, accuracy: float) -> dict[str, object]:
            return {"method": method, "target": target, "seed": 0, "accuracy": accuracy,
                    "to target": dict.fromkeys(("JS", "class JS", "A-distance"), distance)}  # fmt: skip

        cells = [cell("erm", t, d, d / 2) for t, d in (("a", 1.0), ("b", 0.2), ("c", 0.6))]
        cells += [cell("smos", "a", 0.9, 0.6), cell("smos", "b", 0.2, 0.1), cell("smos", "c", 0.7, 0.2)]
        found = correlations(cells)
        assert found["JS"]["rho"] == pytest.approx(-1)
        assert found["JS"]["cells"] == 3


def test_a_cell_of_an_edited_algorithm_is_no_longer_of_this_table(
    domains: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own_erm.py"
    file.write_text(
        "from gen.smos.algorithms.erm import ERM\nfrom gen.smos.algorithms.registry import register\n\n\n"
        "class Own(ERM):\n    pass\n\n\nregister('own', Own)\n"
    )
    monkeypatch.setenv("GEN_PLUGINS", str(file))
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(registry, "ALGORITHMS", dict(registry.ALGORITHMS))
    command = ["train-smos", "--data", str(domains), "--target", "ink", "--seeds", "0", "--method", "own", *TINY]
    command += ["--out", str(tmp_path / "t")]
    assert main(command) == 0
    assert main(command) == 0  # the same file
    file.write_text(file.read_text() + "\n# another thought\n")
    sys.modules.pop("own_erm")
    registry.ALGORITHMS.pop("own")
    assert main(command) == 1
    assert "algorithm's code.file_sha256 was" in capsys.readouterr().err
    sys.modules.pop("own_erm")
