"""The commands call the same things by the same names; the older names work too."""

import pytest
import tyro

from gen.cli import main
from gen.hda.commands import AdaptArguments
from gen.hda.settings import EvaluateSettings
from gen.smos.commands import _seeds

ADAPT = ["--domain", "a=b", "--out", "o"]


@pytest.mark.parametrize("name", ["--model", "--source"])
def test_what_is_loaded_is_the_model(name: str) -> None:
    assert tyro.cli(AdaptArguments, args=[name, "m", *ADAPT]).model == "m"
    assert tyro.cli(EvaluateSettings, args=[name, "m", "--hybrid", "a=b", "--out", "o"]).source == "m"


@pytest.mark.parametrize("name", ["--runs", "--seeds"])
def test_a_number_of_runs_is_no_list_of_seeds(name: str) -> None:
    assert tyro.cli(EvaluateSettings, args=[name, "2", "--hybrid", "a=b", "--out", "o"]).seeds == 2


def test_seeds_are_numbers_and_ranges() -> None:
    assert _seeds("0-3,7") == [0, 1, 2, 3, 7]
    assert _seeds("0,1,2") == [0, 1, 2]


@pytest.mark.parametrize(
    ("command", "names"),
    [("translate", "IN OUT"), ("simulate-weather", "IN OUT"), ("export-augan", "RUN OUT"), ("invert", "PHOTO"),
     ("train-weather", "OUT")],
)  # fmt: skip
def test_help_names_what_goes_in_and_what_comes_out(
    command: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    usage = capsys.readouterr().out.split("\n\n")[0]
    assert names in usage
    assert "PATH" not in usage.partition(" [")[0]
