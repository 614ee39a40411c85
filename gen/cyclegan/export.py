"""Export a training run of CycleGAN or CUT as a model folder."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gen.cyclegan.card import write_card
from gen.cyclegan.method import CycleGANPipeline, CycleGANTrainer, GeneratorPair
from gen.cyclegan.settings import CycleGANSettings, check_settings
from gen.licences import Licence
from gen.output import output_folder
from gen.provenance import portable
from gen.training import longer
from gen.training.averaged import load_averaged, load_last_state, save_variants
from gen.training.experiment import write_text
from gen.training.own_code import recorded_code, settings_of_run
from gen.translation.registry import Recipe
from gen.translation.settings import DIRECTIONS
from gen.translation.weathers import tell_of_lost_weathers


def export_model(
    run: Path, out: Path, half: bool = False, weathers: Sequence[str] = (), licence: Licence = "unstated"
) -> None:
    """Write the averaged weights of the run's last checkpoint, `training.json` and a model card.

    In float32, and in float16 as `variant="fp16"`; with `half`, in float16 only. `weathers`: what the adverse frames
    showed, for example ["night"]. Raises `BadInput` if `run` has no checkpoint.
    """
    state = load_last_state(run, "train-cyclegan")
    settings, more = settings_of_run(CycleGANSettings, state)
    pair = GeneratorPair(settings)
    load_averaged(pair, state)
    networks: list[Any] = [pair.generators[d].eval() if d in pair.generators else None for d in DIRECTIONS]
    height, width = state["data"]["adverse"]["cached_size"]
    pipeline = CycleGANPipeline(*networks, trained_height=height, trained_width=width, weathers=list(weathers))
    hidden = ("preset", "adverse", "normal", "out")
    record = {
        "preset": settings.preset,
        "settings": {name: value for name, value in portable(settings).items() if name not in hidden} | more,
        **recorded_code(state),
        **longer.recorded(state),
        "weights_license": licence,
        **{name: state[name] for name in ("images_shown", "seconds", "core_seconds", "hardware", "data")},
    }
    with output_folder(out):
        tell_of_lost_weathers(out, weathers)
        save_variants(pipeline, filter(None, networks), out, half)
        write_text(out / "training.json", json.dumps(record, indent=2))
        write_card(out)


def make_recipe(given: Mapping[str, Any]) -> Recipe:
    """CycleGAN as a recipe of `gen compare-augan`. `given`: settings of `CycleGANSettings`.

    Its preset is the one of that name (tiny), or else the published one. Raises `BadSetting` for wrong settings.
    """
    name = str(given["preset"])
    preset = name if name in CycleGANSettings.preset_names() else "cyclegan"
    settings = CycleGANSettings.from_preset(**{**given, "preset": preset})
    check_settings(settings)
    return Recipe(settings, lambda: CycleGANTrainer(settings), lambda model: export_model(settings.out, model))
