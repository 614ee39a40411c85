"""Export a training run as a model folder: the averaged weights of its last checkpoint, in float32 and float16."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline, ModelMixin
from diffusers.training_utils import EMAModel
from torch import nn

from gen.errors import BadInput
from gen.training.checkpoints import DamagedCheckpoint, load_last_good
from gen.training.kinds import check_trained_by
from gen.training.model_folder import save_model
from gen.training.own_code import KEY

SHARD = "15MB"
"""Size at which a weight file is split, so that it can be kept in a git repository."""


def load_last_state(run: Path, command: str | None = None) -> dict[str, Any]:
    """The state in the last good checkpoint of a run directory.

    Raises `BadInput` if it has none, or if it is a run of another command than gen `command`, where one is given.
    """
    found = load_last_good(run / "checkpoints", check=_check_exportable)
    if found is None:
        raise BadInput(f"{run}: no checkpoint here that can be loaded; give the output folder of a training run.")
    if command is not None:
        check_trained_by(run, found.state, command)
    return found.state


def _check_exportable(path: Path, state: Mapping[str, Any]) -> None:
    """Raises `DamagedCheckpoint` for a state that lacks what an exported model or its record needs."""
    needed = {"data", "settings", "hardware", "images_shown", "seconds", "networks"}
    if missing := sorted(name for name in needed if state.get(name) is None):
        raise DamagedCheckpoint(f"{path}: this is not a checkpoint of gen, or it is damaged (no {missing[0]}).")


def load_averaged(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Give `network`, built as for training, the averaged (EMA) weights of a checkpoint's `state`.

    Raises `BadInput` if there are none, or if they are of another network.
    """
    if not state.get("ema"):
        raise BadInput("the checkpoint is damaged, or of another kind of training: it has no averaged weights.")
    averaged = EMAModel(network.parameters())
    averaged.load_state_dict(state["ema"])
    if [p.shape for p in averaged.shadow_params] != [p.shape for p in network.parameters()]:
        trainer = f" of {state[KEY]['class']}" if state.get(KEY) else ""
        raise BadInput(f"the run{trainer} trained other networks than this command exports; give another run.")
    averaged.copy_to(network.parameters())


def save_variants(
    model: DiffusionPipeline | ModelMixin, networks: Iterable[nn.Module], folder: Path, half: bool = False
) -> None:
    """Write `model` in float32, and in float16 as `variant="fp16"`; with `half`, in float16 only.

    `networks`: all networks of `model`. They are in float16 afterwards.
    """

    def save(folder: Path) -> None:
        if not half:
            model.save_pretrained(folder, max_shard_size=SHARD)
        for network in networks:
            nn.Module.half(network)  # diffusers' own half() warns about modules to keep in float32; there are none
        model.save_pretrained(folder, max_shard_size=SHARD, variant=None if half else "fp16")

    save_model(folder, save, "model_index.json" if isinstance(model, DiffusionPipeline) else "config.json")
