"""From a training run to a model folder."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen.augan.cost import count_parameters, training_macs, translation_macs
from gen.augan.invention import FOLDER as INVENTION
from gen.augan.networks import AUGANGenerator
from gen.augan.pipeline import AUGANPipeline
from gen.augan.settings import AUGANSettings, uses_frozen_network
from gen.augan.training import LITE, GeneratorPair
from gen.provenance import portable
from gen.training.averaged import load_averaged, load_last_state, save_variants
from gen.training.settings import make_settings


def export_model(
    run: Path, out: Path, half: bool = False, auto_height: int | None = None, weathers: Sequence[str] = ()
) -> None:
    """Write the averaged weights of the run's last checkpoint and `training.json`, the record for the card.

    In float32, and in float16 as `variant="fp16"`; with `half`, in float16 alone. The reconstruction decoders, which
    only training needs, are left out. `weathers`: what the adverse frames showed, for example ["night", "rainy
    night"]; none, and no `auto_height`: as the model says from which the run began. An invention map that lies in `out`
    goes, because it was taught for other weights; so does the uncertainty head of a run that had pairs alone, which no
    cycle has taught anything.
    Raises `BadInput` where `run` has no checkpoint.
    """
    state = load_last_state(run)
    settings = make_settings(AUGANSettings, state["settings"])
    pair = GeneratorPair(settings)
    load_averaged(pair, state)
    taught = state["images_shown"] > settings.pairs_first
    generators = [for_inference(g, uncertainty=taught) for g in (pair.a2b, pair.b2a)]
    height, width = state["data"]["adverse"]["cached_size"]
    start = state["extra"].get("inherited", {})
    pipeline = AUGANPipeline(
        *generators,
        trained_height=height,
        trained_width=width,
        auto_height=auto_height or start.get("auto_height"),
        weathers=list(weathers) or start.get("weathers"),
    )
    shutil.rmtree(out / INVENTION, ignore_errors=True)
    save_variants(pipeline, generators, out, half)
    (out / "training.json").write_text(json.dumps(record(state, settings, generators), indent=2))


def for_inference(generator: AUGANGenerator, uncertainty: bool = True) -> AUGANGenerator:
    """A copy without the reconstruction decoder, and without the uncertainty head if that is not wanted."""
    settings = generator.settings()
    settings |= {"reconstruction": False, "uncertainty": settings["uncertainty"] and uncertainty}
    copy = AUGANGenerator(**settings)
    kept = copy.state_dict().keys()
    copy.load_state_dict({name: value for name, value in generator.state_dict().items() if name in kept})
    return copy.eval()


def record(state: dict[str, Any], settings: AUGANSettings, generators: list[AUGANGenerator]) -> dict[str, Any]:
    """What the model card says of the training; MACs of a translation are at the size trained at."""
    size = state["data"]["adverse"]["cached_size"]
    names = ("adverse_to_normal", "normal_to_adverse")
    return {
        "preset": settings.preset,
        "settings": {k: v for k, v in portable(settings).items() if k not in ("preset", "adverse", "normal", "out")},
        "images_shown": state["images_shown"],
        "steps": state["images_shown"] // settings.batch,
        "seconds": round(state["seconds"]),
        "core_seconds": round(state.get("core_seconds", 0)) or None,
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
