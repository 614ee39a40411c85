"""From a training run of CycleGAN or CUT to a model folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from gen.cyclegan.card import write_card
from gen.cyclegan.method import CycleGANPipeline, GeneratorPair
from gen.cyclegan.settings import CycleGANSettings
from gen.errors import BadInput
from gen.provenance import portable
from gen.training.averaged import load_averaged
from gen.training.checkpoints import latest_checkpoint, load_checkpoint
from gen.training.settings import make_settings
from gen.translation.settings import DIRECTIONS

SHARD = "15MB"
"""Size at which a weight file is split, so that it can lie in a git repository."""


def export_model(run: Path, out: Path, half: bool = False, weathers: Sequence[str] = ()) -> None:
    """Write the averaged weights of the run's last checkpoint, `training.json` and a model card.

    In float32, and in float16 as `variant="fp16"`; with `half`, in float16 only. `weathers`: what the adverse frames
    showed, for example ["night"]. Raises `BadInput` if `run` has no checkpoint.
    """
    checkpoint = latest_checkpoint(run / "checkpoints")
    if checkpoint is None:
        raise BadInput(f"{run}: no checkpoint here; give the output folder of a training run.")
    state = load_checkpoint(checkpoint)
    settings = make_settings(CycleGANSettings, state["settings"])
    pair = GeneratorPair(settings)
    load_averaged(pair, state)
    networks: list[Any] = [pair.generators[d].eval() if d in pair.generators else None for d in DIRECTIONS]
    height, width = state["data"]["adverse"]["cached_size"]
    pipeline = CycleGANPipeline(*networks, trained_height=height, trained_width=width, weathers=list(weathers))
    if not half:
        pipeline.save_pretrained(out, max_shard_size=SHARD)
    for network in networks:
        if network is not None:
            nn.Module.half(network)  # diffusers' own half() warns of modules to keep in float32; there are none
    pipeline.save_pretrained(out, max_shard_size=SHARD, variant=None if half else "fp16")
    hidden = ("preset", "adverse", "normal", "out")
    record = {
        "preset": settings.preset,
        "settings": {name: value for name, value in portable(settings).items() if name not in hidden},
        **{name: state[name] for name in ("images_shown", "seconds", "core_seconds", "hardware", "data")},
    }
    (out / "training.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    write_card(out)
