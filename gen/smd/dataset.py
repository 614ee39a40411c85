"""SMD as a data set in memory: scenes of game worlds by class and console style, rendered when they are asked for.

Sample i of a class is one level; in every style it is the same level, so that styles are paired. A picture is a
function of (seed, split, class, style, index). No level is in both splits, whatever the seeds.
"""

import dataclasses
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gen.media.images import middle_square
from gen.smd.names import SCENES, Split
from gen.smd.styles import STYLES, Style, find_style, render
from gen.smd.world import World, make_world

Pixels = NDArray[np.uint8]
DRAWING = 2
"""Version of the drawings. Raise it when any level comes out as a different picture: folders and runs record it, and
refuse to mix two versions."""


def level_seed(seed: int, split: Split, index: int) -> int:
    """Seed of level `index` of a split: even numbers train and odd ones validate, so that they never meet."""
    # 10 million apart: data sets of different seeds share no level until one has that many of a class.
    return 2 * (seed * 10_000_000 + index) + (split == "val")


def level(scene: str, seed: int, split: Split, index: int) -> World:
    """The world of one sample."""
    return make_world(scene, level_seed(seed, split, index))


def square(picture: Pixels, size: int) -> Pixels:
    """The middle square of a picture (H, W, 3), at `size` pixels a side."""
    cut = Image.fromarray(middle_square(picture))
    return np.asarray(cut if cut.width == size else cut.resize((size, size), Image.Resampling.BICUBIC))


def through_video(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture as captured from a video: scaled down to 50-100 % and up again, then JPEG at quality 60 to 90."""
    image = Image.fromarray(picture)
    factor = float(rng.uniform(0.5, 1.0))
    small = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
    buffer = BytesIO()
    small.resize(image.size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=int(rng.integers(60, 91)))
    return np.asarray(Image.open(buffer).convert("RGB"))


@dataclasses.dataclass(frozen=True)
class Levels:
    """Which levels, and how their pictures are made."""

    seed: int = 0
    split: Split = "train"
    size: int = 224
    """Side of the square pictures in pixels."""
    noise: bool = False
    """Degrade the pictures like a video capture (`through_video`)."""
    device: str = "cpu"
    """Where the rays of the 3D styles are cast."""

    def pictures(self, scene: str, style: str | Style, indices: Sequence[int]) -> list[Pixels]:
        """The samples `indices` of a class in a style, (size, size, 3) uint8 each."""
        style = find_style(style) if isinstance(style, str) else style
        worlds = [level(scene, self.seed, self.split, i) for i in indices]
        clean = [square(p, self.size) for p in render(worlds, style, size=self.size, device=self.device)]
        if not self.noise:
            return clean
        keys = [level_seed(self.seed, self.split, i) for i in indices]
        return [through_video(p, np.random.default_rng([k, style.number])) for p, k in zip(clean, keys, strict=True)]


class Sample(NamedTuple):
    """One picture with its labels."""

    image: Tensor
    """(3, size, size) uint8 RGB."""
    scene: int
    """Index into SCENES."""
    style: int
    """`Style.number`: for the styles of this package the index into STYLES."""


class SMDDataset(Dataset[Sample]):
    """Scenes rendered when they are asked for, in the order style, class, level; the same index is the same picture.

    Use it with a DataLoader that has workers and shuffles: what a batch has in common is rendered together.
    """

    def __init__(
        self,
        per_class: int,
        levels: Levels | None = None,
        styles: Sequence[str] | None = None,
        scenes: Sequence[str] = SCENES,
    ) -> None:
        """`per_class` levels of each of `scenes`, each in all of `styles` (none: in all that there are)."""
        self.per_class, self.levels, self.scenes = per_class, levels or Levels(), tuple(scenes)
        # The rows, not the names: a worker process that was spawned knows only the styles of this package by name.
        self.styles = tuple(find_style(name) for name in (STYLES if styles is None else styles))

    def __len__(self) -> int:
        return len(self.styles) * len(self.scenes) * self.per_class

    def index(self, style: int, scene: int, level: int) -> int:
        """Index of a sample, from the positions of its style and class among `styles` and `scenes`."""
        return (style * len(self.scenes) + scene) * self.per_class + level

    def locate(self, index: int) -> tuple[Style, str, int]:
        """Style, class and level of a sample."""
        rest, number = divmod(index, self.per_class)
        style, scene = divmod(rest, len(self.scenes))
        return self.styles[style], self.scenes[scene], number

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """A batch: samples of one style and class are rendered in one call, which is faster on a GPU."""
        groups: dict[tuple[Style, str], list[int]] = {}
        for position, index in enumerate(indices):
            groups.setdefault(self.locate(index)[:2], []).append(position)
        samples: dict[int, Sample] = {}
        for (style, scene), positions in groups.items():
            pictures = self.levels.pictures(scene, style, [self.locate(indices[p])[2] for p in positions])
            for position, picture in zip(positions, pictures, strict=True):
                image = torch.from_numpy(picture.copy()).permute(2, 0, 1)
                samples[position] = Sample(image, SCENES.index(scene), style.number)
        return [samples[i] for i in range(len(indices))]
