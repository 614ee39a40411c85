"""A model with the settings of a run, which takes smaller pieces where the memory is too short."""

import gc
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.devices import is_out_of_memory
from gen.errors import BadInput, BadSetting
from gen.media.images import Pixels
from gen.translation.maps import COUNTED_AS, SCALES, colour_uncertainty, percentile
from gen.translation.memory import MemoryLimits, Plan
from gen.translation.norm import StatisticsSmoother
from gen.translation.pipeline import TranslationPipeline
from gen.translation.protocol import Translator
from gen.translation.settings import MapName, Resolution, TranslateSettings, parse_resolution

MapValues = NDArray[np.float32] | None
"""An uncertainty map (H, W); None if there is none, or if only its statistics are wanted."""

PIXELS_AT_ONCE = 2**24
"""Eight frames of 1920x1080. Maps of 64 channels of twice as many pixels are more than GPU kernels can address."""


class Translated(NamedTuple):
    """What comes of a frame."""

    rgb: Pixels
    values: MapValues
    statistics: dict[str, float]
    """Mean and 95th percentile of the map, under the report's names; {} without a map."""


FAR = 1.5
"""More than this many times the rows that a model was made for draws a warning."""


class Network:
    """A model with the settings of a run: frames in, translations and maps out."""

    def __init__(self, model: Translator, settings: TranslateSettings) -> None:
        """Raises `BadSetting` if the settings ask for what the model cannot do."""
        self.model, self.settings = model, settings
        self.map: MapName | None = model.shown_map(settings.direction, settings.which_map)
        if settings.uncertainty != "none" and self.map is None:
            raise BadSetting(f"uncertainty: {settings.model} has no uncertainty map for {settings.direction}.")
        if settings.tile is not None and not model.capabilities.tiles:
            raise BadSetting(f"tile: {settings.model} cannot work in strips; leave tile out, or lower the resolution.")
        self.scale = SCALES[self.map]
        self.resolution: Resolution = parse_resolution(settings.resolution)
        self.batch_size = settings.batch_size or (1 if model.device.type == "cpu" else 8)
        self.limits = MemoryLimits(settings.tile, model.capabilities.tiles)
        self.runtime = "torch"
        """What computes the network; torch from where memory was too short on."""
        self.warnings: list[str] = []
        """Of the latest call: what it did for lack of memory, and that it ran far above the model's rows."""

    def __call__(self, frames: Sequence[Pixels], smoother: StatisticsSmoother | None = None) -> list[Translated]:
        """Frames of equal size -> their translations and maps.

        Frames that do not fit into memory are done fewer at once, then in strips; later calls begin with what fitted.
        Raises `BadInput` if width and height are swapped.
        """
        height, width = frames[0].shape[:2]
        check_orientation((height, width), self.resolution)
        done: list[Translated] = []
        short_of_memory: str | None = None
        most = max(1, PIXELS_AT_ONCE // (height * width))
        while waiting := frames[len(done) : len(done) + most]:
            plan = self.limits.plan(len(waiting), (height, width))
            results = self._try(waiting[: plan.frames], smoother, plan, (height, width))
            if results is not None:
                short_of_memory = short_of_memory or self.limits.note(plan, len(waiting))
                done += results
        self.warnings = [sentence for sentence in (short_of_memory, self._far_beyond(height)) if sentence]
        return done

    def _far_beyond(self, native: int) -> str | None:
        """A warning if frames of so many rows run far above the model's rows."""
        if self.resolution == "auto":
            return None
        rows, trained = self.resolution[0] if self.resolution else native, self.model.capabilities.auto_height
        if rows <= FAR * trained:
            return None
        return (
            f"{self.settings.model} was trained at {trained} rows and ran at {rows} rows. Such sizes were not "
            "measured, and often leave patches untranslated; leave out --resolution for the size that suits the model."
        )

    def _try(
        self, frames: Sequence[Pixels], smoother: StatisticsSmoother | None, plan: Plan, size: tuple[int, int]
    ) -> list[Translated] | None:
        """The results; None if the memory was too short and there is something smaller to try."""
        try:
            with smoother.undone_on_error() if smoother is not None else nullcontext():
                return self._translate(frames, smoother, plan.tile)
        except Exception as error:
            if not is_out_of_memory(error) or not (self._back_to_torch() or self.limits.shrink(plan, size)):
                raise
        gc.collect()  # after the handler, which holds the tensors of the failed attempt
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        return None

    def _back_to_torch(self) -> bool:
        """Leave another runtime, which keeps the memory it has taken and knows no strips; False if torch is used."""
        if self.runtime == "torch" or not isinstance(self.model, TranslationPipeline):
            return False
        self.model.runners.pop(self.settings.direction, None)
        self.runtime = "torch"
        return True

    def _translate(
        self, frames: Sequence[Pixels], smoother: StatisticsSmoother | None, tile: int | None
    ) -> list[Translated]:
        translated, values = self.model.translate_frames(
            torch.from_numpy(np.stack(frames)),
            self.settings.direction,
            resolution=self.resolution,
            tile=tile,
            smoother=smoother,
            which_map=self.map or "auto",
        )
        if values is None:
            return [Translated(rgb, None, {}) for rgb in translated.numpy()]
        shown = self.settings.compare or self.settings.uncertainty != "none"
        maps: list[MapValues] = list(values.cpu().numpy()) if shown else [None] * len(frames)
        statistics = map(self._statistics, values)
        return [Translated(*results) for results in zip(translated.numpy(), maps, statistics, strict=True)]

    def _statistics(self, values: Tensor) -> dict[str, float]:
        name = COUNTED_AS[self.map]
        return {f"mean_{name}": float(values.mean()), f"p95_{name}": percentile(values, 95)}

    def side_by_side(self, source: Pixels, translated: Pixels, values: MapValues) -> Pixels:
        """Input, translation and, if there is one, the map, from left to right."""
        panels = [source, translated] + ([colour_uncertainty(values, self.scale)] if values is not None else [])
        return np.concatenate(panels, axis=1)


def check_orientation(native: tuple[int, ...], resolution: Resolution) -> None:
    """Raises `BadInput` where a landscape frame would run at a portrait size, or the other way round.

    Versions before 0.2 took HEIGHTxWIDTH, so that such a size is almost always the old order.
    """
    if isinstance(resolution, tuple) and (native[0] - native[1]) * (resolution[0] - resolution[1]) < 0:
        height, width = resolution
        raise BadInput(
            f"resolution {width}x{height} is WIDTHxHEIGHT, but the frames are {native[1]} wide and {native[0]} high; "
            f"did you mean {height}x{width}?"
        )
