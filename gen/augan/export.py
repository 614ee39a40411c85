"""Export a training run as a model folder."""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.augan.card import refresh_card
from gen.augan.cost import count_parameters, training_macs, translation_macs
from gen.augan.generator_pair import GeneratorPair
from gen.augan.invention import FOLDER as INVENTION
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.augan.settings import AUGANSettings, uses_frozen_network
from gen.augan.start import folders_of
from gen.augan.training import LITE
from gen.formats.json_files import json_if_whole
from gen.licences import Licence
from gen.loading import loading
from gen.output import output_folder
from gen.provenance import portable
from gen.training import longer
from gen.training.averaged import load_averaged, load_last_state, save_variants
from gen.training.experiment import write_text
from gen.training.model_folder import tell_of_notes
from gen.training.own_code import recorded_code, settings_of_run
from gen.translation.weathers import tell_of_lost_weathers

log = logging.getLogger(__name__)


def export_model(
    run: Path,
    out: Path,
    half: bool = False,
    auto_height: int | None = None,
    weathers: Sequence[str] = (),
    licence: Licence = "unstated",
) -> None:
    """Write the averaged weights of the run's last checkpoint, and training.json for the model card.

    In float32, and in float16 as `variant="fp16"`; with `half`, in float16 only. The reconstruction decoders are left
    out, because only training needs them. `weathers`: what the adverse frames show, for example ["night", "rainy
    night"]. The default of `weathers` and `auto_height` is that of the model from which the run started. An invention
    map in `out` is deleted, because it was trained for other weights, and so is a model card that tells of them. The
    uncertainty head is left out if the run has trained on pairs only, because only cycles train it.
    Raises `BadInput` if `run` has no checkpoint.
    """
    state = load_last_state(run, "train-augan")
    settings, more = settings_of_run(AUGANSettings, state)
    pair = GeneratorPair(settings)
    load_averaged(pair, state)
    head_is_trained = state["images_shown"] > settings.pairs_first
    generators = [for_inference(g, uncertainty=head_is_trained) for g in (pair.a2b, pair.b2a)]
    height, width = state["data"]["adverse"]["cached_size"]
    start = state["extra"].get("inherited", {})
    pipeline = AUGANPipeline(
        *generators,
        trained_height=height,
        trained_width=width,
        auto_height=auto_height or start.get("auto_height"),
        weathers=list(weathers) or start.get("weathers"),
    )
    told = record(state, settings, generators, more) | {"weights_license": licence}
    with output_folder(out):
        tell_of_notes(out, set(folders_of(json_if_whole(out / "training.json"))), set(folders_of(told)))
        had_map = (out / INVENTION).is_dir()
        tell_of_lost_weathers(out, pipeline.config["weathers"])
        save_variants(pipeline, generators, out, half)
        shutil.rmtree(out / INVENTION, ignore_errors=True)  # only now: an export that fails leaves the old model whole
        if had_map:
            log.warning("%s: its invention map is gone; gen export-invention adds it again, if it fits", out)
        write_text(out / "training.json", json.dumps(told, indent=2))
        refresh_card(out)


@loading
def for_inference(generator: AUGANGenerator, uncertainty: bool = True) -> AUGANGenerator:
    """A copy without the reconstruction decoder and, if `uncertainty` is False, without the uncertainty head."""
    settings = generator.settings()
    settings |= {"reconstruction": False, "uncertainty": settings["uncertainty"] and uncertainty}
    copy = AUGANGenerator(**settings)
    kept = copy.state_dict().keys()
    copy.load_state_dict({name: value for name, value in generator.state_dict().items() if name in kept})
    return copy.eval()


def record(
    state: dict[str, Any], settings: AUGANSettings, generators: list[AUGANGenerator], more: dict[str, Any]
) -> dict[str, Any]:
    """The content of training.json for the model card; MACs of a translation are for the training size.

    `more`: settings of a trainer of the user's own.
    """
    size = state["data"]["adverse"]["cached_size"]
    names = ("adverse_to_normal", "normal_to_adverse")
    return {
        "preset": settings.preset,
        "settings": {k: v for k, v in portable(settings).items() if k not in ("preset", "adverse", "normal", "out")}
        | more,
        **recorded_code(state),
        **longer.recorded(state),
        "images_shown": state["images_shown"],
        "steps": state["images_shown"] // settings.batch,
        "seconds": state["seconds"],
        "core_seconds": state.get("core_seconds"),  # the first checkpoints had none
        "feature_networks": state["extra"].get("feature_networks", [LITE] if uses_frozen_network(settings) else []),
        "history": state["extra"].get("inherited", {}).get("history", []),
        "hardware": state["hardware"],
        "data": state["data"],
        "parameters": {n: count_parameters(g) for n, g in zip(names, generators, strict=True)},
        "macs": {
            "training_pair_forward": training_macs(settings),
            **{n: translation_macs(g, (size[0], size[1])) for n, g in zip(names, generators, strict=True)},
        },
    }
