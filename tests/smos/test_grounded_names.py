"""smos(NAME) on the command line and in records."""

from pathlib import Path

import pytest

from gen.errors import BadSetting
from gen.smos.algorithms import registry
from gen.smos.methods import parse_method
from gen.smos.settings import SMOSSettings, without_folder
from gen.smos.table import absolute

GIVEN = {"data": Path("data"), "out": Path("out"), "precursor": Path("smd-precursor")}


@pytest.mark.parametrize(("name", "weight"), [("smos", 1.0), ("smos_released", 0.15), ("smos_kl", 0.15)])
def test_the_default_weight_is_that_of_the_grounding(name, weight):
    for algorithm in (name, f"{name}(coral)"):
        settings = SMOSSettings(**GIVEN, algorithm=algorithm)
        options = registry.find(algorithm).read_options(settings)
        assert options.js_weight == weight
        assert options.mi_weight == pytest.approx(weight / 10)


def test_records_keep_the_grounding_of_an_own_algorithm():
    assert without_folder("/d/my.py:X") == "my.py:X"
    assert without_folder("smos(/d/my.py:X)") == "smos(my.py:X)"
    assert without_folder("smos_kl(/d/my.py:X)") == "smos_kl(my.py:X)"
    assert without_folder("smos(coral)") == "smos(coral)"


def test_workers_elsewhere_find_the_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert absolute("my.py:X") == f"{tmp_path.resolve()}/my.py:X"
    assert absolute("smos(my.py:X)") == f"smos({tmp_path.resolve()}/my.py:X)"
    assert absolute("smos(coral)") == "smos(coral)"


def test_rows_have_the_names_of_both(tmp_path):
    file = tmp_path / "my.py"
    file.write_text("from gen.smos.algorithms.erm import ERM\n\n\nclass Mine(ERM):\n    pass\n")
    method = parse_method(f"smos({file}:Mine):smd-precursor,js_weight=2")
    assert (method.name, method.precursor, method.changes) == ("smos-Mine", "smd-precursor", {"js_weight": 2})
    assert method.algorithm == f"smos({file}:Mine)"
    assert parse_method("smos(coral)").name == "smos-coral"


@pytest.mark.parametrize("name", ["fishr", "irm", "boda", "udim"])
def test_a_run_by_time_must_be_told_when_its_penalty_starts(name):
    algorithm = registry.find(name)
    settings = SMOSSettings(data=Path("data"), out=Path("out"), algorithm=name, core_minutes=10)
    with pytest.raises(BadSetting, match=f"{name},start=50"):
        algorithm.read_options(settings)
    settings = SMOSSettings(data=Path("data"), out=Path("out"), algorithm=name, core_minutes=10, options={"start": 7})
    assert algorithm.read_options(settings).start == 7
