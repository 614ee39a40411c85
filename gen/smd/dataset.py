"""SMD as data: scenes of game worlds by class and console style, rendered on the fly or written to disk.

Sample i of a class is one level; in every style it is the same level, so that styles are paired. Everything is a
function of (seed, split, class, index): no level of the training split is in the validation split, whatever the seeds.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.data import Dataset

from gen.errors import BadSetting
from gen.media.images import Still, encode_still
from gen.smd.styles import STYLES, render
from gen.smd.world import SCENES, World, make_world
from gen.smd.writing import begin, check_seed, make_folder, run_jobs

Pixels = NDArray[np.uint8]
Split = Literal["train", "val"]
StyleName = Literal["8bit", "16bit", "lowpoly", "hd"]
SceneName = Literal["grassland", "cave", "underwater", "fortress", "sky", "snow", "desert", "haunted"]
DRAWING = 2
"""Raise it whenever a level comes out as another picture, so that no folder and no run mixes the two."""


def level_seed(seed: int, split: Split, index: int) -> int:
    """Seed of level `index` of a split: even numbers train, odd ones validate, so that the two never meet."""
    return 2 * (seed * 10_000_000 + index) + (split == "val")


def level(scene: str, seed: int, split: Split, index: int) -> World:
    """The world of one sample."""
    return make_world(scene, level_seed(seed, split, index))


def square(picture: Pixels, size: int) -> Pixels:
    """The middle square of a picture (H, W, 3), at `size` pixels a side."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    cut = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(cut if side == size else cut.resize((size, size), Image.Resampling.BICUBIC))


def through_video(picture: Pixels, rng: np.random.Generator) -> Pixels:
    """What is left after a capture of a video: scaled down and up again by up to a half, JPEG at quality 60 to 90."""
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
    """Pixels a side."""
    noise: bool = False
    """Pass the pictures through a video capture: resize and JPEG."""
    device: str = "cpu"
    """Where the rays of the 3D styles are cast."""

    def pictures(self, scene: str, style: str, indices: Sequence[int]) -> list[Pixels]:
        """The samples `indices` of a class in a style, (size, size, 3) uint8 each."""
        worlds = [level(scene, self.seed, self.split, i) for i in indices]
        made = [square(p, self.size) for p in render(worlds, style, size=self.size, device=self.device)]
        if not self.noise:
            return made
        keys = [level_seed(self.seed, self.split, i) for i in indices]
        return [
            through_video(p, np.random.default_rng([k, STYLES.index(style)])) for p, k in zip(made, keys, strict=True)
        ]


class Sample(NamedTuple):
    """One picture with its labels."""

    image: Tensor
    """(3, size, size) uint8 RGB."""
    scene: int
    """Index into SCENES."""
    style: int
    """Index into STYLES."""


class SMDDataset(Dataset[Sample]):
    """Scenes rendered when they are asked for, in the order style, class, level; the same index is the same picture.

    Give a DataLoader workers and a shuffling sampler: a batch is rendered class by class and style by style.
    """

    def __init__(
        self,
        per_class: int,
        levels: Levels | None = None,
        styles: Sequence[str] = STYLES,
        scenes: Sequence[str] = SCENES,
    ) -> None:
        """`per_class` levels of each of `scenes`, each in all of `styles`."""
        self.per_class, self.levels = per_class, levels or Levels()
        self.styles, self.scenes = tuple(styles), tuple(scenes)

    def __len__(self) -> int:
        return len(self.styles) * len(self.scenes) * self.per_class

    def place(self, index: int) -> tuple[str, str, int]:
        """Style, class and level of a sample."""
        rest, number = divmod(index, self.per_class)
        style, scene = divmod(rest, len(self.scenes))
        return self.styles[style], self.scenes[scene], number

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """A batch: what one renderer can do together is done together."""
        groups: dict[tuple[str, str], list[int]] = {}
        for position, index in enumerate(indices):
            groups.setdefault(self.place(index)[:2], []).append(position)
        samples: dict[int, Sample] = {}
        for (style, scene), positions in groups.items():
            pictures = self.levels.pictures(scene, style, [self.place(indices[p])[2] for p in positions])
            for position, picture in zip(positions, pictures, strict=True):
                image = torch.from_numpy(picture.copy()).permute(2, 0, 1)
                samples[position] = Sample(image, SCENES.index(scene), STYLES.index(style))
        return [samples[i] for i in range(len(indices))]


# On disk


@dataclasses.dataclass(frozen=True)
class RenderSettings:
    """Render game scenes: OUT/STYLE/CLASS/NUMBER.jpg, the same level under the same number in every style."""

    out: tyro.conf.Positional[Path]
    """Folder of the data set, as DomainBed reads it."""
    per_class: int = 2500
    """Levels of each class, each rendered in every style."""
    size: int = 224
    """Pixels a side."""
    styles: tuple[StyleName, ...] = ("8bit", "16bit", "lowpoly", "hd")
    """Console styles."""
    scenes: tuple[SceneName, ...] = ("grassland", "cave", "underwater", "fortress", "sky", "snow", "desert", "haunted")
    """Classes."""
    seed: int = 0
    """Another seed is another data set."""
    split: Split = "train"
    """train or val: they share no level, whatever the seeds."""
    noise: bool = False
    """Pass the pictures through a video capture: resize and JPEG."""
    quality: int = 85
    """Of the JPEG files."""
    preview: bool = False
    """Only write OUT/preview.jpg, a contact sheet: a level of each class in each style."""
    workers: int | None = None
    """Processes; none: one a core."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the rays of the 3D styles are cast."""


CHUNK = 8
"""Pictures that one job renders together."""


class Chunk(NamedTuple):
    """Part of a class in a style, to be written."""

    style: str
    scene: str
    indices: tuple[int, ...]


def render_smd(settings: RenderSettings) -> Path:
    """Write what is asked for and is not there yet; returns the folder, or the preview's file.

    Raises `BadSetting` for settings that make no sense, and for a folder that holds another data set.
    """
    s = settings
    if s.per_class < 1 or not 16 <= s.size <= 1024:
        raise BadSetting("per_class must be at least 1, and size between 16 and 1024 pixels.")
    check_seed(s.seed)
    if s.device == "cuda" and not torch.cuda.is_available():
        raise BadSetting("device=cuda: torch sees no CUDA device here; use device=cpu.")
    if s.preview:
        make_folder(s.out)
        path = s.out / "preview.jpg"
        sheet = contact_sheet(s.styles, s.scenes, level_seed(s.seed, s.split, 0), s.device)
        encode_still(path, Still(sheet), quality=s.quality)
        return path
    own = {name: getattr(s, name) for name in ("seed", "split", "size", "noise", "quality")}
    begin(s.out, own | {"drawing": DRAWING})
    for style in s.styles:
        for scene in s.scenes:
            make_folder(s.out / style / scene)
    total = len(s.styles) * len(s.scenes) * s.per_class
    run_jobs(partial(write_chunk, s), list(chunks(s)), s.workers, total, "img")
    return s.out


def chunks(settings: RenderSettings) -> Iterator[Chunk]:
    """All the work of a data set, in order."""
    for style in settings.styles:
        for scene in settings.scenes:
            for first in range(0, settings.per_class, CHUNK):
                indices = range(first, min(first + CHUNK, settings.per_class))
                yield Chunk(style, scene, tuple(indices))


def write_chunk(settings: RenderSettings, chunk: Chunk) -> int:
    """Render the pictures of a chunk that are not there yet; returns how many it has."""
    paths = {i: settings.out / chunk.style / chunk.scene / f"{i:06d}.jpg" for i in chunk.indices}
    missing = [i for i, path in paths.items() if not path.exists()]
    levels = Levels(settings.seed, settings.split, settings.size, settings.noise, settings.device)
    for index, picture in zip(missing, levels.pictures(chunk.scene, chunk.style, missing), strict=True):
        encode_still(paths[index], Still(picture), quality=settings.quality, mark=f"gen: rendered, {chunk.style}")
    return len(paths)


def contact_sheet(styles: Sequence[str], scenes: Sequence[str], seed: int, device: str = "cpu") -> Pixels:
    """One level of each class (rows) in each style (columns), in cells of 320 x 240 with a name."""
    sheet = Image.new("RGB", (len(styles) * 324 + 4, len(scenes) * 244 + 4), "white")
    for row, scene in enumerate(scenes):
        world = make_world(scene, seed)
        for column, style in enumerate(styles):
            picture = Image.fromarray(render([world], style, device=device)[0])
            picture.thumbnail((320, 240), Image.Resampling.LANCZOS)
            corner = (column * 324 + 4, row * 244 + 4)
            sheet.paste(picture, (corner[0] + (320 - picture.width) // 2, corner[1] + (240 - picture.height) // 2))
            name = f"{scene}, {style}"
            ImageDraw.Draw(sheet).text(
                (corner[0] + 37, corner[1] + 12), name, "white", stroke_width=1, stroke_fill="black"
            )
    return np.asarray(sheet)
