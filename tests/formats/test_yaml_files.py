"""YAML and JSON that other people made."""

from itertools import pairwise
from pathlib import Path

import pytest

from gen import BadInput
from gen.formats.json_files import parse_json, read_json
from gen.formats.yaml_files import read_yaml
from tests.fuzz.cost import measured

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}]\n" for old, new in pairwise("abcdefghijklmnop")
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [*{old}, *{old}, *{old}]}}\n" for old, new in pairwise("abcdefghijklmnop")
)

HOSTILE = {
    "a billion laughs": LAUGHS,
    "merged mappings": MERGES,
    "itself": "a: &a [*a]",
    "deep": "[" * 5000,
    "deep and closed": "[" * 3000 + "]" * 3000,
    "large": "a: 1\n" * 50_000,
    "a tag that runs code": "a: !!python/object/apply:os.system [x]",
    "an impossible date": "a: 2001-13-45",
    "an integer in base 60": "a: " + "1:" * 60 + "1",
    "a hexadecimal integer": "a: 0x" + "f" * 5000,
    "many values": "[" + "1," * 20_000 + "1]",
    "an integer of many digits": "a: " + "1" * 5000,
    "a list as a key": "? [a]\n: b",
    "control characters": "a: \x00",
    "an unknown name": "a: *b",
    "odd binary": "a: !!binary é",
    "odd bool": "a: !!bool x",
    "odd int": "a: !!int x",
    "odd float": "a: !!float x",
    "odd time": "a: !!timestamp x",
    "odd map": "a: !!map x",
    "odd set": "a: !!set x",
    "odd omap": "a: !!omap x",
    "two documents": "a: 1\n---\nb: 2",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml(tmp_path: Path, name: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(HOSTILE[name])
    with measured() as cost, pytest.raises(BadInput, match=r"a\.yaml: ") as caught:
        read_yaml(file)
    assert "\n" not in str(caught.value)
    assert cost.megabytes < 60
    assert cost.seconds < 20  # far less where the processor is free


def test_ordinary_yaml(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "base: &base {width: 24}\nlight:\n  <<: *base\n  rate: 1e-4\nempty:\nnames: [a, é]\n", encoding="utf-8"
    )
    light = {"width": 24, "rate": "1e-4"}  # YAML 1.1 wants a dot; the settings convert it
    assert read_yaml(file) == {"base": {"width": 24}, "light": light, "empty": None, "names": ["a", "é"]}
    file.write_text("")
    assert read_yaml(file) is None


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[Infinity]", "-Infinity", "[" * 99_999, "1" * 5000, b"\xff\xfe", b"\x80"]
)
def test_hostile_json(text: str | bytes) -> None:
    with pytest.raises(BadInput, match=r"a\.json: this is no valid JSON") as caught:
        parse_json(text, "a.json")
    assert "\n" not in str(caught.value)


def test_json_files(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        read_json(tmp_path / "none.json")
    with pytest.raises(BadInput, match="this is no regular file"):
        read_json(tmp_path)
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(BadInput, match="expected a JSON object"):
        read_json(tmp_path / "a.json")
    with pytest.raises(BadInput, match="larger than"):
        read_json(tmp_path / "a.json", 2)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "r:\n  width: 4\n  width: 8", "- {x: 1, x: 1}"])
def test_a_name_that_is_there_twice_is_told(text, tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"the name '(a|width|x)' is there twice"):
        read_yaml(path)


def test_a_mapping_may_take_over_two_others(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text("a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\n  x: 3")
    assert read_yaml(path)["c"]["x"] == 3


def test_names_are_compared_as_they_are_read(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("0.5: {x: 1}\n0.50: {x: 2}")
    with pytest.raises(BadInput, match=r"the name '0\.5' is there twice"):
        read_yaml(path)
