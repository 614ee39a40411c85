"""What methods gain over ERM and cost, at equal steps and at equal processor time."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import ttest_rel

from gen.cli import main
from gen.smos.gains import Gain, baseline_of, gain, interval, relative_cost
from gen.smos.markdown import as_markdown
from gen.smos.methods import Method, in_time
from gen.smos.plots import draw_gains
from gen.smos.training import SMOSTrainer
from tests.smos.test_training import Make, make  # noqa: F401

TINY = ["--preset", "cpu", *(
    word for pair in ("size=32", "batch=2", "accumulate=1", "device=cpu", "evaluate_every=2", "swad=false")
    for word in ("--set", pair)
)]  # fmt: skip


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=6))
def test_the_interval_is_that_of_the_paired_test(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    found = interval((100 * (a - b)).tolist())
    if np.ptp(a - b) < 1e-6:
        assert found.low == pytest.approx(found.high, abs=1e-2)
    else:
        wanted = ttest_rel(100 * a, 100 * b).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), rel=1e-6, abs=1e-6)


def test_seeds_that_one_row_lacks_do_not_count() -> None:
    erm = {"art": {"0": 0.5, "1": 0.6, "2": 0.1}, "ink": {"0": 0.4, "1": 0.4}}
    row = {"art": {"0": 0.6, "1": 0.6}, "ink": {"0": 0.4, "1": 0.6, "2": 0.9}}
    found = gain(row, erm, ["art", "ink"])  # +10 and 0, 0 and +20
    assert found is not None
    assert found.mean == pytest.approx(7.5)
    assert found.high - found.mean == pytest.approx(12.706 * 2.5, rel=1e-3)  # Student's t, one degree of freedom
    assert str(gain(row, {"art": {"0": 0.5}, "ink": {"0": 0.5}}, ["art", "ink"])) == "+0.0"  # one seed: no interval
    assert gain(row, {"art": {"7": 0.5}}, ["art"]) is None


def test_each_row_is_compared_with_erm_of_its_length() -> None:
    def row(algorithm: str, minutes: float | None = None) -> dict[str, Any]:
        return {"algorithm": algorithm, "changes": {} if minutes is None else {"core_minutes": minutes}}

    methods = {"miro": row("miro"), "base": row("erm"), "other": row("erm"), "miro@5min": row("miro", 5.0)}
    assert [baseline_of(methods, name) for name in methods] == ["base", None, "base", None]
    methods["base@5min"] = row("erm", 5.0)
    assert baseline_of(methods, "miro@5min") == "base@5min"
    assert in_time(Method("a", "erm", None, {"lr": 1e-3}), 2.5) == Method(
        "a@2.5min", "erm", None, {"lr": 1e-3, "core_minutes": 2.5}
    )


def test_cost_is_that_of_the_cells_that_both_have() -> None:
    assert relative_cost({"a-0": 3.0, "b-0": 1.0, "c-0": 100.0}, {"a-0": 1.0, "b-0": 1.0, "d-0": 9.0}) == 2.0
    assert relative_cost({"a-0": 3.0}, {"b-0": 1.0}) is None


def test_the_columns() -> None:
    rows = {
        "erm": {"ink": {"0": 0.5, "1": 0.5}},
        "m": {"ink": {"0": 0.6, "1": 0.5}},
        "m@5min": {"ink": {"0": 0.6, "1": 0.5}},
    }
    changes = {"core_minutes": 5.0}
    results = {
        "dataset": "shapes", "cells": {"done": 6, "of": 6}, "ended_early": [], "diverged": [],
        "settings": {"backbone": "resnet18", "size": 32, "steps": 100, "batch": 4, "lr": 1e-3, "preset": "cpu"},
        "methods": {"erm": {"algorithm": "erm", "loss": "CE", "changes": {}},
                    "m": {"algorithm": "miro", "loss": "MI", "changes": {}},
                    "m@5min": {"algorithm": "miro", "loss": "MI", "changes": changes}},
        "accuracy": {"training-domain validation": rows, "oracle": rows},
        "costs": {
            "erm": {f"ink-{s}": {"steps": 100, "core_seconds": 9.0, "step_seconds": 0.5} for s in (0, 1)},
            "m": {"ink-0": {"steps": 100, "core_seconds": 9.0, "step_seconds": 1.0},
                  "ink-1": {"steps": 60, "core_seconds": 9.0, "step_seconds": 0.75}},
        },
    }  # fmt: skip
    text = as_markdown(results)
    assert "| method | ink | mean | gain over ERM | cost a step | steps |" in text
    assert "| erm | 50.0 ± 0.0 | 50.0 ± 0.0 |  |  | 100 |" in text
    assert "| m | 55.0 ± 5.0 | 55.0 ± 5.0 | +5.0 [-58.5, +68.5] | 1.75 | 80 |" in text
    assert "| m@5min | 55.0 ± 5.0 | 55.0 ± 5.0 |  |  |  |" in text  # no ERM of five minutes
    assert "| m | 55.0 ± 5.0 | 55.0 ± 5.0 |\n" in text[text.index("oracle") :]
    assert "- m@5min: MI; core_minutes=5.0\n" in text
    alone = {**results, "accuracy": {"oracle": {"erm": rows["erm"]}}}
    assert "gain" not in as_markdown(alone)


def test_the_figure_has_its_points_where_they_belong(tmp_path: Path) -> None:
    gains = {"a$b$": (Gain(2.0, -1.0, 5.0), {"ink": Gain(4.0, math.nan, math.nan)}), "c": (Gain(-3, -4, -2), {})}
    draw_gains(tmp_path / "gain.png", gains, ["art", "ink"], "SWAD")
    with Image.open(tmp_path / "gain.png") as image:
        assert image.size[0] > 500
        pixels = np.asarray(image.convert("L"))
    assert (pixels < 100).any()
    draw_gains(tmp_path / "gain.png", {"a": (Gain(0.0, math.nan, math.nan), {})}, ["ink"], "last step")


def test_processor_time_as_the_length(make: Make) -> None:  # noqa: F811
    trainer = SMOSTrainer(make(core_minutes=0.02, steps=1, swad=False))
    trainer.fit()
    results = trainer.report()
    assert results["core_seconds"] >= 1.2
    assert results["steps"] > 1  # `steps` has no effect
    assert trainer.history[-1]["step"] == results["steps"]  # the last step is evaluated
    assert 0 < results["step_seconds"] * (results["steps"] - 1) < results["core_seconds"]


def test_one_command_makes_rows_of_both_lengths(domains: Path, tmp_path: Path) -> None:
    command = ["train-smos", "--data", str(domains), "--out", str(tmp_path), "--target", "ink", "--seeds", "0,1", *TINY]
    command += ["--method", "erm", "--method", "miro", "--set", "steps=3"]
    assert main([*command, "--core-minutes", "0.02"]) == 0
    results, text = json.loads((tmp_path / "results.json").read_text()), (tmp_path / "table.md").read_text()
    assert list(results["methods"]) == ["erm", "miro", "erm@0.02min", "miro@0.02min"]
    assert "8 of 8 cells done" in text
    assert "![Gain over ERM by method, selected by training-domain validation](gain.png)" in text
    assert (tmp_path / "gain.png").is_file()
    assert {cost["steps"] for cost in results["costs"]["erm"].values()} == {3}
    for name in ("erm@0.02min", "miro@0.02min"):
        assert all(cost["core_seconds"] >= 1.2 for cost in results["costs"][name].values())
    assert main(command) == 0  # of the first rows alone: the others stay in the folder
    assert list(json.loads((tmp_path / "results.json").read_text())["methods"]) == ["erm", "miro"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--core-minutes", "-1"], "core_minutes: "),
        (["--core-minutes", "1", "--set", "core_minutes=2"], "--core-minutes adds rows"),
        (["--set", "steps=3", "--set", "core_minutes=2"], "steps and core_minutes are both given; give one."),
    ],
)
def test_lengths_that_cannot_be(
    words: list[str], message: str, domains: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-smos", "--data", str(domains), "--method", "erm", *TINY, *words]) == 1
    assert message in capsys.readouterr().err


def test_a_killed_table_goes_on_by_cell(domains: Path, tmp_path: Path) -> None:
    """SIGKILL in the second cell: the first is kept as it is, and the numbers are those of an unbroken table."""
    words = ["train-smos", "--data", str(domains), "--target", "art,ink", "--seeds", "0", "--method", "erm", *TINY]
    words += ["--set", "steps=12", "--set", "checkpoint_every=4"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.Popen([sys.executable, "-m", "gen.cli", *words, "--out", str(tmp_path / "t")], env=environment)
    second = tmp_path / "t" / "erm" / "ink-0" / "checkpoints"
    while not list(second.glob("state-*.pt")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "t" / "results.json").exists()
    first = tmp_path / "t" / "erm" / "art-0" / "results.json"
    before = first.stat().st_mtime_ns
    assert main([*words, "--out", str(tmp_path / "t")]) == main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert first.stat().st_mtime_ns == before
    a, b = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("t", "whole"))
    assert a["accuracy"] == b["accuracy"]
