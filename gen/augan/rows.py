"""What translates the frames of an evaluation, by table row: models, baselines, simulated weathers."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gen.augan.arguments import EvaluateSettings
from gen.augan.simulated.pairs import SIMULATIONS, simulate_frame
from gen.augan.simulated.settings import Weather
from gen.errors import BadSetting
from gen.metrics import rivals
from gen.translation.norm import StatisticsSmoother
from gen.translation.pipeline import TranslationPipeline
from gen.translation.settings import Direction, Resolution

Translate = Callable[[Tensor], Tensor]
"""Frames (B, H, W, 3) uint8 -> their translations, on the CPU."""

BASELINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gamma": rivals.gamma, "histogram": rivals.match_histogram}
"""Baselines: functions of the frames and of the target's mean histogram."""

SIMULATED = "simulated {}"
"""Name of the row of a simulated weather."""


def model_folders(settings: EvaluateSettings, model: Path) -> dict[str, Path]:
    """Row name -> model folder: the baseline, the model itself, and the rivals in the given order.

    Raises `BadSetting` for a rival that is not name=FOLDER or has the name of another row.
    """
    folders = ({"baseline": settings.baseline} if settings.baseline else {}) | {"model": model}
    for text in settings.rival:
        name, equals, folder = text.partition("=")
        if not equals or not name or not folder:
            raise BadSetting(f"rival must be name=FOLDER, for example projected=runs/projected-model, not {text!r}.")
        if name in (*folders, *BASELINES, *map(SIMULATED.format, SIMULATIONS), "untouched", "floor", "target"):
            raise BadSetting(f"rival: the name {name!r} is already used for another row; choose another name.")
        folders[name] = Path(folder)
    return folders


def able(pipes: dict[str, TranslationPipeline], direction: Direction) -> dict[str, TranslationPipeline]:
    """The models that translate in this direction."""
    return {name: pipe for name, pipe in pipes.items() if direction in pipe.capabilities.directions}


def translators(
    pipes: dict[str, TranslationPipeline],
    direction: Direction,
    tone: Tensor,
    resolution: Resolution,
    memory: float | None = None,
) -> dict[str, Translate]:
    """Row name -> translation in this direction. `memory`: smoothing factor per frame of a clip's statistics."""

    def translate(pipe: TranslationPipeline) -> Translate:
        smoother = StatisticsSmoother(memory) if memory is not None else None
        return lambda frames: pipe.translate_frames(frames, direction, resolution=resolution, smoother=smoother)[0]

    def baseline(function: Callable[[Tensor, Tensor], Tensor]) -> Translate:
        return lambda frames: function(frames, tone)

    rows = {name: baseline(function) for name, function in BASELINES.items()}
    if direction == "normal_to_adverse":
        rows |= simulations(pipes["model"])
    return rows | {name: translate(pipe) for name, pipe in pipes.items()}


def simulations(pipe: TranslationPipeline) -> dict[str, Translate]:
    """The simulations of `gen simulate-weather` for the weathers that the model lists."""

    def simulate(weather: Weather) -> Translate:
        def all_of(frames: Tensor) -> Tensor:
            made = [simulate_frame(f, weather, seed=zlib.crc32(f.tobytes())) for f in frames.cpu().numpy()]
            return torch.from_numpy(np.stack(made))

        return all_of

    known = pipe.config["weathers"]
    return {SIMULATED.format(weather): simulate(weather) for weather in SIMULATIONS if weather in known}
