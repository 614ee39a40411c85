"""Numbers as people type them: absurd ones are refused in a sentence, and at once."""

from pathlib import Path

import pytest

from gen import BadInput, BadSetting
from gen.hda.parsing import (
    Axis,
    Mix,
    Target,
    parse_adaptation,
    parse_axis,
    parse_edit,
    parse_layers,
    parse_mix,
    parse_names,
    parse_strengths,
    parse_target,
)
from gen.hda.settings import HDASettings
from gen.seeds import MOST_SEEDS, check_seed, parse_seeds
from gen.training.settings import make_settings, parse_overrides
from tests.fuzz.cost import measured


def test_seeds() -> None:
    assert parse_seeds("0-3, 8,5-5") == [0, 1, 2, 3, 8, 5]
    assert len(parse_seeds(f"1-{MOST_SEEDS}")) == MOST_SEEDS
    assert parse_seeds(str(2**63 - 1)) == [2**63 - 1]


@pytest.mark.parametrize(
    "text",
    [
        "1-1000000000000", f"0-{MOST_SEEDS}", f"0-9,0-{MOST_SEEDS - 5}", "-1", str(2**63), "9" * 5000, "5-3", "0,5-3",
        "", "1e3", "²", "a" * 5000,
    ],
)  # fmt: skip
def test_absurd_seeds(text: str) -> None:
    with measured() as cost, pytest.raises(BadSetting, match="seeds") as caught:
        parse_seeds(text)
    assert len(str(caught.value)) < 300
    assert cost.megabytes < 20


@pytest.mark.parametrize("text", ["nan", "0,inf", "-inf", "x", "", "1e999"])
def test_strengths_are_finite(text: str) -> None:
    with pytest.raises(BadSetting, match="strengths"):
        parse_strengths(text)


@pytest.mark.parametrize("text", ["a.safetensors:nan", "a.safetensors:inf", "a.safetensors:x", "x" * 3000 + ":y"])
def test_adaptations_at_a_strength_that_is_no_number(text: str) -> None:
    with pytest.raises(BadInput, match="no valid strength") as caught:
        parse_adaptation(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "pair",
    [
        "lr=NaN", "lr=Infinity", "lr=-1", "lr=1e400", "seed=-1", f"seed={2**32}", "seed=" + "9" * 5000, "seed=1.5",
        "batch=" + "[" * 99999, "direction_weight=nan", "nothing=1",
    ],
)  # fmt: skip
def test_settings(pair: str) -> None:
    with pytest.raises(BadSetting) as caught:
        make_settings(HDASettings, {"source": "x", "domains": ("a=b",), "out": "o"}, parse_overrides([pair]))
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("seed", [-1, 2**32, 10**40])
def test_seeds_of_commands(seed: int) -> None:
    with pytest.raises(BadSetting, match="seed must be a whole number from 0 to 4294967295"):
        check_seed(seed)


def test_edits_and_directions() -> None:
    assert parse_edit("smile=1.5") == ("smile", 1.5)
    assert parse_edit("3:0-4=-2") == ("3:0-4", -2.0)
    assert parse_target("3") == Target(3)
    assert parse_target("3:4") == Target(3, (4, 4))
    assert parse_target("3:0-4") == Target(3, (0, 4))
    assert [str(target) for target in (Target(3), Target(3, (0, 4)))] == ["3", "3:0-4"]
    assert parse_target("smile") is None
    assert parse_layers("2-5") == (2, 5)
    assert parse_layers("2") == (2, 2)


@pytest.mark.parametrize(
    "text",
    ["smile", "smile=", "smile=x", "=1", "3:4-2=1", "3:-1=1", "-3=1", "3.5=1", "a b=1", "smile=nan", "smile=inf",
     "truncation=1", "mix=1", "²=1", "x" * 5000],
)  # fmt: skip
def test_edits_that_are_none(text: str) -> None:
    with pytest.raises(BadSetting, match="expected DIRECTION=NUMBER") as caught:
        parse_edit(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["7", "7:", ":4", "a:4", "7:4-5", "-1:4", f"{2**63}:4", "7:" + "9" * 99])
def test_mixes_that_are_none(text: str) -> None:
    with pytest.raises(BadSetting, match="expected SEED:LAYER"):
        parse_mix(text)


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "0:3", "1e3"])
def test_layers_that_are_none(text: str) -> None:
    with pytest.raises(BadSetting, match="expected FIRST-LAST"):
        parse_layers(text)


def test_axes() -> None:
    assert parse_axis("rows", "smile=-2,0,2") == Axis("smile", (-2.0, 0.0, 2.0))
    assert str(parse_axis("rows", "3:0-4=-2,0.5")) == "3:0-4=-2,0.5"
    assert parse_axis("columns", "mix=7:4, 8:4") == Axis("mix", (Mix(7, 4), Mix(8, 4)))
    for text in ("smile", "smile=", "seeds=a", "truncation=1,,2", "strength=nan", "a b=1"):
        with pytest.raises(BadSetting, match=r"rows .*: expected WHAT=VALUES"):
            parse_axis("rows", text)
    with pytest.raises(BadSetting, match="mix x: expected SEED:LAYER"):
        parse_axis("columns", "mix=x")
    with pytest.raises(BadSetting, match="at most 64 values, not 65"):
        parse_axis("rows", "smile=" + ",".join(["1"] * 65))


def test_names_of_directions() -> None:
    text = "# about\n\nsmile = 3:0-4\n ålder=7 \n"
    assert parse_names(text, Path("names.txt")) == {"smile": Target(3, (0, 4)), "ålder": Target(7)}
    for line in ("smile", "smile = x", "3 = 3", "truncation = 3", "a b = 3", "smile = 4:3-2"):
        with pytest.raises(BadInput, match=r"names.txt, line 2: .*expected NAME = NUMBER"):
            parse_names(f"# about\n{line}", Path("names.txt"))
    with pytest.raises(BadInput, match=r"line 2.*smile is named twice"):
        parse_names("smile = 3\nsmile = 4", Path("names.txt"))
