"""AU-GAN as a recipe of `gen compare-augan`."""

from collections.abc import Mapping
from typing import Any

from gen.augan.export import export_model
from gen.augan.settings import check_pairs
from gen.augan.start import choose_settings
from gen.augan.training import AUGANTrainer
from gen.translation.registry import Recipe


def make_recipe(given: Mapping[str, Any]) -> Recipe:
    """`given`: settings of `AUGANSettings`, among them the preset. Raises `BadSetting` for wrong ones."""
    settings = choose_settings(given["preset"], given)
    check_pairs(settings)
    return Recipe(settings, lambda: AUGANTrainer(settings), lambda model: export_model(settings.out, model))
