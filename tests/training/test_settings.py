"""Settings made in Python: from a preset, from strings, and what is refused."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gen.augan.invention_settings import InventionSettings
from gen.augan.settings import AUGANSettings
from gen.augan.start import choose_settings
from gen.checked import checked
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import BadSetting
from gen.formats.yaml_files import read_yaml
from gen.hda.settings import HDASettings
from gen.smos.settings import SMOSSettings
from gen.stylegan2.settings import StyleGAN2Settings
from gen.training.settings import TrainerSettings, as_record, check_overrides, make_settings

WHERE = {"adverse": "NIGHT", "normal": "DAY", "out": "runs/x"}
WITH_PRESETS = {AUGANSettings: WHERE, CycleGANSettings: WHERE, SMOSSettings: {"data": "d", "out": "o"}}
WITH_PRESETS |= {StyleGAN2Settings: WITH_PRESETS[SMOSSettings]}
ALL = [
    (kind, preset.stem, given)
    for kind, given in WITH_PRESETS.items()
    for preset in sorted((kind.presets or Path()).glob("*.yaml"))
    if "datasets" not in read_yaml(preset)  # reads the data set: tests/smos/test_presets.py
]


@pytest.mark.parametrize(("kind", "preset", "given"), ALL)
def test_a_preset_is_what_its_file_says(kind: type[TrainerSettings], preset: str, given: dict[str, str]) -> None:
    settings = kind.from_preset(preset, **given, seed=7)
    assert settings.preset == preset
    assert settings.seed == 7
    values, wanted = as_record(settings), read_yaml(Path(kind.presets or "") / f"{preset}.yaml")
    assert {name: values[name] for name in wanted} == wanted
    assert settings.out == Path(given["out"])


def test_what_is_given_goes_before_the_preset() -> None:
    settings = AUGANSettings.from_preset("tiny", **WHERE, width="12", crop=[64, 96])
    assert (settings.width, settings.crop, settings.batch) == (12, (64, 96), 2)


@dataclass(frozen=True)
class Sides:
    crop: tuple[int, int]


LENGTHS = [(AUGANSettings, "tiny", 400), (StyleGAN2Settings, "faces64", 300_000), (CycleGANSettings, "tiny", None)]


@pytest.mark.parametrize(("kind", "preset", "images"), LENGTHS)
def test_epochs_go_before_the_images_of_a_preset(kind: Any, preset: str, images: int | None) -> None:
    given = WITH_PRESETS[kind]
    assert kind.from_preset(preset, **given).images == images
    settings = kind.from_preset(preset, **given, epochs=3)
    assert settings.images_to_show(10) == 30
    assert kind.from_preset(preset, **given, images=7).images_to_show(10) == 7
    with pytest.raises(BadSetting, match=r"^images and epochs are both given; give one\.$"):
        kind.from_preset(preset, **given, images=7, epochs=3)
    # Runs of earlier versions were trained on `images` where their record has both.
    recorded = as_record(settings) | {"images": 50}
    assert make_settings(kind, recorded).images_to_show(10) == 50


def test_epochs_go_before_default_images_and_in_each_command() -> None:
    invention = make_settings(InventionSettings, {"rendered": "r", "out": "o"}, {"epochs": 3})
    assert invention.images_to_show(10) == 30
    assert choose_settings("tiny", WHERE | {"epochs": 3}).images_to_show(10) == 30


@pytest.mark.parametrize("kind", [AUGANSettings, CycleGANSettings, StyleGAN2Settings, InventionSettings, HDASettings])
def test_two_lengths_in_a_command_are_refused(kind: type[TrainerSettings]) -> None:
    second = "core_minutes" if kind is HDASettings else "epochs"
    with pytest.raises(BadSetting, match=rf"^images and {second} are both given; give one\.$"):
        check_overrides(kind, {"images": 7, second: 3})
    check_overrides(kind, {"images": None, second: 3})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("width", True, "integer"), ("seed", False, "integer"), ("lr", True, "number"), ("pairs_first", True, "integer")],
)
def test_a_boolean_is_no_number(name: str, value: bool, wanted: str) -> None:
    told = rf"^{name}: Input should be a valid {wanted}, but it is {value}\.$"
    settings = AUGANSettings.from_preset("tiny", **WHERE)
    for make in (
        lambda: check_overrides(AUGANSettings, {name: value}),
        lambda: AUGANSettings.from_preset("tiny", **WHERE, **{name: value}),
        lambda: replace(settings, **{name: value}),
    ):
        with pytest.raises(BadSetting, match=told):
            make()


def test_what_else_is_no_number_and_what_is_a_switch() -> None:
    with pytest.raises(BadSetting, match=r"crop.1: Input should be a valid integer, but it is True"):
        checked(Sides, "crop", [64, True])
    with pytest.raises(BadSetting, match=r"direction_weight: Input should be a valid number, but it is True"):
        check_overrides(HDASettings, {"direction_weight": True})
    with pytest.raises(BadSetting, match=r"width: Input should be a valid integer.*, but it is 1.5"):
        check_overrides(AUGANSettings, {"width": 1.5})
    assert checked(AUGANSettings, "compile", True) is True
    assert checked(AUGANSettings, "width", 12.0) == 12


def test_strings_are_paths_and_wrong_values_are_told() -> None:
    settings = AUGANSettings(adverse="NIGHT", normal="DAY", out="runs/x")  # pyright: ignore[reportArgumentType]
    assert settings.adverse == Path("NIGHT")
    assert settings.out == Path("runs/x")
    with pytest.raises(BadSetting, match=r"batch: .*greater than or equal to 1, but it is 0"):
        replace(settings, batch=0)
    with pytest.raises(BadSetting, match="cycle_weight must be a finite number, not nan"):
        replace(settings, cycle_weight=float("nan"))


def test_a_preset_that_was_not_read_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"write AUGANSettings.from_preset\('tiny', ...\)"):
        AUGANSettings(preset="tiny", adverse=Path("a"), normal=Path("b"), out=Path("c"))
    with pytest.raises(BadSetting, match="unknown preset 'fats'; did you mean fast"):
        AUGANSettings.from_preset("fats", **WHERE)
    with pytest.raises(BadSetting, match="unknown preset 'tiny'"):
        HDASettings.from_preset("tiny")
    with pytest.raises(BadSetting, match="choose a preset with --preset NAME"):
        check_overrides(AUGANSettings, {"preset": "tiny"})


def test_a_copy_and_a_record_keep_the_name_of_the_preset() -> None:
    settings = AUGANSettings.from_preset("tiny", **WHERE)
    assert replace(settings, seed=3).preset == "tiny"
    again = make_settings(AUGANSettings, as_record(settings))
    assert again == settings
