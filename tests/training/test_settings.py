"""Settings made in Python: from a preset, from strings, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from gen.augan.settings import AUGANSettings
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
    if (kind, preset.stem) != (SMOSSettings, "published")  # reads the data set
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
