"""What the engines for pictures and clips need of a model, whatever its method."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gen.translation.norm import StatisticsSmoother
from gen.translation.settings import Direction, MapName, Resolution, WhichMap


@dataclass(frozen=True)
class Capabilities:
    """What a model can do, as data."""

    maps: dict[Direction, tuple[MapName, ...]]
    """The directions that it translates, and for each the uncertainty maps it has, the default one first."""
    multiple: int
    """Its networks need sides that are multiples of this; pipelines pad and crop."""
    trained_size: tuple[int, int]
    """(height, width) of the frames that it was trained on."""
    auto_height: int
    """Rows that resolution "auto" runs at."""
    weathers: tuple[str, ...] = ()
    """What the adverse frames showed, for example ("night", "rainy night"); empty if unknown."""
    tiles: bool = True
    """Whether `tile` works: strips of rows for frames that do not fit into memory."""
    smooths: bool = True
    """Whether a `StatisticsSmoother` has an effect, because its networks normalise each frame by its own statistics."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that it translates."""
        return tuple(self.maps)


class Translator(Protocol):
    """A model that translates frames. `gen.translation.pipeline.TranslationPipeline` is the base that has all of it."""

    @property
    def device(self) -> torch.device:
        """Where its networks run."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def shown_map(self, direction: Direction, which: WhichMap = "auto") -> MapName | None:
        """The uncertainty map that a translation comes with, None if it has none. Raises `BadSetting`."""
        ...

    def translate_frames(
        self,
        frames: Tensor,
        direction: Direction,
        *,
        resolution: Resolution = "auto",
        tile: int | None = None,
        smoother: StatisticsSmoother | None = None,
        which_map: WhichMap = "cycle",
    ) -> tuple[Tensor, Tensor | None]:
        """uint8 (B, H, W, 3) -> uint8 of the same shape on the CPU, and one map (B, H, W) on any device, or None.

        `smoother`: one a clip; frames must come in order. `which_map`: see `shown_map`.
        """
        ...
