"""Numbers as people type them: absurd ones are refused in a sentence, and at once."""

import pytest

from gen import BadInput, BadSetting
from gen.hda.parsing import parse_adaptation, parse_strengths
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
