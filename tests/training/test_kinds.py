"""Which command trained a run, and what the wrong export command says."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gen.augan.invention_settings import InventionSettings
from gen.augan.settings import AUGANSettings
from gen.cli import main
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import BadInput
from gen.hda.settings import HDASettings
from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.smos.settings import SMOSSettings
from gen.stylegan2.settings import StyleGAN2Settings
from gen.training.checkpoints import save_checkpoint
from gen.training.kinds import EXPORTS, TOLD_BY, check_trained_by

KINDS = {
    "train-augan": AUGANSettings,
    "train-cyclegan": CycleGANSettings,
    "train-stylegan2": StyleGAN2Settings,
    "train-mobilestylegan": MobileStyleGANSettings,
    "train-invention": InventionSettings,
    "adapt": HDASettings,
    "train-smos": SMOSSettings,
}


def names(kind: type[Any]) -> dict[str, None]:
    return dict.fromkeys(field.name for field in dataclasses.fields(kind))


def test_each_command_has_a_setting_of_its_own() -> None:
    assert TOLD_BY.keys() == KINDS.keys()
    for command, kind in KINDS.items():
        assert [name for name, setting in TOLD_BY.items() if setting in names(kind)] == [command]


@pytest.mark.parametrize("command", EXPORTS)
@pytest.mark.parametrize("trained", KINDS)
def test_an_export_of_another_kind_of_run_names_the_right_command(
    command: str, trained: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if command == trained:
        check_trained_by(tmp_path, {"settings": names(KINDS[trained])}, command)
        return
    state: dict[str, Any] = {"data": {}, "hardware": {}, "networks": {}, "images_shown": 8, "seconds": 1.0}
    save_checkpoint(tmp_path / "run" / "checkpoints", 8, state | {"settings": names(KINDS[trained])})
    assert main([EXPORTS[command], str(tmp_path / "run"), str(tmp_path / "out")]) == 1
    right = f"use gen {EXPORTS[trained]}" if trained in EXPORTS else f"give a run of gen {command}"
    assert f"{tmp_path / 'run'} is a run of gen {trained}; {right}." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_of_nothing_known_and_of_trainers_with_more_settings(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="this is no run of gen train-augan; give one"):
        check_trained_by(tmp_path, {"settings": {"lr": 1e-4}}, "train-augan")
    own: dict[str, Any] = {"trainer": {"class": "mine:Trainer"}}
    with pytest.raises(BadInput, match="the run of mine:Trainer trained other networks than gen train-invention"):
        check_trained_by(tmp_path, own | {"settings": {"lr": 1e-4}}, "train-invention")
    check_trained_by(tmp_path, own | {"settings": names(AUGANSettings) | {"domains": None}}, "train-augan")
