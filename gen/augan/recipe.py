"""AU-GAN as a recipe of `gen compare-augan`."""

from collections.abc import Mapping
from typing import Any

from gen.augan.export import export_model
from gen.augan.settings import AUGANSettings, check_pairs
from gen.augan.start import choose_settings
from gen.augan.training import AUGANTrainer
from gen.training.command import trainer_of
from gen.translation.registry import Recipe

BASE = "gen.augan.training:AUGANTrainer"


def make_recipe(given: Mapping[str, Any]) -> Recipe:
    """`given`: settings of `AUGANSettings`, among them the preset, and a `trainer` of one's own as FILE.py:CLASS.

    Raises `BadSetting` for wrong ones.
    """
    given = dict(given)
    trainer, kind = trainer_of(given.pop("trainer", None), BASE, AUGANSettings)
    settings = choose_settings(given["preset"], given, kind)
    check_pairs(settings)
    return Recipe(
        settings, lambda: (trainer or AUGANTrainer)(settings), lambda model: export_model(settings.out, model)
    )
