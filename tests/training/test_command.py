"""The command line of trainers: mistakes at once, and the list of settings."""

import dataclasses
import re
import subprocess
import sys

import pytest

from gen.augan.settings import AUGANSettings
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import BadSetting
from gen.hda.settings import HDASettings
from gen.smos.settings import SMOSSettings
from gen.stylegan2.settings import StyleGAN2Settings
from gen.training.settings import check_overrides
from gen.training.settings_help import docstrings, settings_help

KINDS = [AUGANSettings, CycleGANSettings, HDASettings, SMOSSettings, StyleGAN2Settings]
COMMANDS = {
    "train-augan": ["--adverse", "a", "--normal", "b", "--out", "o"],
    "train-cyclegan": ["--adverse", "a", "--normal", "b", "--out", "o"],
    "train-stylegan2": ["--data", "a", "--out", "o"],
    "train-smos": ["--data", "a", "--out", "o"],
    "train-precursor": ["--data", "a", "--out", "o"],
    "train-invention": ["--model", "m", "--rendered", "a", "--out", "o"],
    "adapt": ["--source", "s", "--domain", "a=b", "--out", "o"],
}
TORCH_IS_ABSENT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("torch was imported")
sys.meta_path.insert(0, Absent())
from gen.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TORCH_IS_ABSENT, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_setting_is_told_before_torch_loads(command: str) -> None:
    told = run(command, *COMMANDS[command], "--set", "sede=1")
    assert told.returncode == 1
    assert "unknown setting 'sede'; did you mean seed?" in told.stderr


def test_one_set_may_have_several_values() -> None:
    told = run("train-augan", *COMMANDS["train-augan"], "--set", "lr=1e-4", "batch=2", "--seeed=3", "--preset", "tiny")
    assert "Unrecognized options: --seeed=3" in told.stderr
    told = run("train-augan", *COMMANDS["train-augan"], "--set", "lr=1e-4", "batch=2", "sede=1")
    assert "unknown setting 'sede'; did you mean seed?" in told.stderr


@pytest.mark.parametrize("words", [("--set", "help"), ("--set=help",)])
def test_help_needs_no_other_argument(words: tuple[str, ...]) -> None:
    told = run("train-augan", *words)
    assert told.returncode == 0, told.stderr
    assert "\nlr=0.0002  (number)\n    Adam's learning rate;" in told.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_with_a_default_is_listed_with_its_meaning(kind: type) -> None:
    text = settings_help(kind)
    for field in dataclasses.fields(kind):
        if field.default is not dataclasses.MISSING:
            entry = re.search(rf"^{field.name}=.*\n    \w.{{10,}}", text, re.M)
            assert entry, f"{field.name} is not listed or not explained"


def test_an_inherited_text_is_found() -> None:
    assert docstrings(AUGANSettings)["lr"].startswith("Adam's learning rate")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"wdith": 3}, "unknown setting 'wdith'; did you mean width"),
        ({"lr": "abc"}, "lr: Input should be a valid number.*'abc'"),
        ({"crop": [64, "b"]}, "crop.1: .*'b'"),
        ({"batch": 0}, "batch: .*greater"),
    ],
)
def test_overrides_are_checked_without_the_settings_that_are_required(overrides: dict[str, object], told: str) -> None:
    with pytest.raises(BadSetting, match=told):
        check_overrides(AUGANSettings, overrides)


def test_right_overrides_pass() -> None:
    check_overrides(AUGANSettings, {"lr": "1e-4", "crop": [128, 224], "simulated": "runs/nights"})
