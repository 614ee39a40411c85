"""Write SMD to disk: OUT/STYLE/CLASS/NUMBER.jpg, written in chunks by several processes, and the contact sheet."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from gen.devices import pick_device
from gen.media.files import make_out_folder
from gen.media.images import Still, encode_still
from gen.media.preview import write_preview
from gen.smd.dataset import DRAWING, Levels, Pixels, level_seed
from gen.smd.settings import RenderSettings
from gen.smd.styles import STYLES, Style, find_style, render
from gen.smd.world import make_world
from gen.smd.writing import begin, is_whole, run_jobs

CHUNK = 8
"""Pictures that one job renders: enough for its overhead not to count, few enough for an even load."""
CELL_WIDTH, CELL_HEIGHT, GAP = 320, 240, 4
"""Of the contact sheet, in pixels. A cell is as large as a picture of lowpoly, the widest that is not scaled down."""


class Chunk(NamedTuple):
    """Part of a class in a style, to be written."""

    style: Style
    scene: str
    indices: tuple[int, ...]


def render_smd(settings: RenderSettings) -> Path:
    """Write the pictures that are asked for and missing; returns the folder, or the file of the preview.

    Raises `BadSetting` for settings that make no sense, and for a folder that holds a different data set.
    """
    settings.check()
    s = replace(settings, device=str(pick_device(settings.device)))
    if s.preview:
        sheet = contact_sheet(s.styles, s.scenes, level_seed(s.seed, s.split, 0), s.device)
        return write_preview(s.out, sheet, s.quality)
    own = {name: getattr(s, name) for name in ("seed", "split", "size", "noise", "quality")}
    folders = [s.out / style / scene for style in s.styles for scene in s.scenes]
    begin(s.out, own | {"drawing": DRAWING}, [s.out / style for style in STYLES])  # those not asked for now, too
    for folder in folders:
        make_out_folder(folder)
    total = len(s.styles) * len(s.scenes) * s.per_class
    run_jobs(partial(write_chunk, s), list(chunks(s)), s.workers, total, "img", s.device)
    return s.out


def chunks(settings: RenderSettings) -> Iterator[Chunk]:
    """All the work of a data set, in order."""
    for style in settings.styles:
        for scene in settings.scenes:
            for first in range(0, settings.per_class, CHUNK):
                indices = range(first, min(first + CHUNK, settings.per_class))
                yield Chunk(find_style(style), scene, tuple(indices))


def write_chunk(settings: RenderSettings, chunk: Chunk) -> int:
    """Render the missing pictures of a chunk; returns how many pictures the chunk has."""
    name = chunk.style.name
    paths = {i: settings.out / name / chunk.scene / f"{i:06d}.jpg" for i in chunk.indices}
    missing = [i for i, path in paths.items() if not is_whole(path)]
    levels = Levels(settings.seed, settings.split, settings.size, settings.noise, settings.device)
    for index, picture in zip(missing, levels.pictures(chunk.scene, chunk.style, missing), strict=True):
        encode_still(paths[index], Still(picture), quality=settings.quality, mark=f"gen: rendered, {name}")
    return len(paths)


def contact_sheet(styles: Sequence[str], scenes: Sequence[str], seed: int, device: str = "cpu") -> Pixels:
    """One level of each class (rows) in each style (columns), each cell with its name."""
    columns, rows = CELL_WIDTH + GAP, CELL_HEIGHT + GAP
    sheet = Image.new("RGB", (len(styles) * columns + GAP, len(scenes) * rows + GAP), "white")
    for row, scene in enumerate(scenes):
        world = make_world(scene, seed)
        for column, style in enumerate(styles):
            picture = Image.fromarray(render([world], style, device=device)[0])
            left, top = column * columns + GAP, row * rows + GAP
            _paste_cell(sheet, picture, left, top, f"{scene}, {style}")
    return np.asarray(sheet)


def _paste_cell(sheet: Image.Image, picture: Image.Image, left: int, top: int, name: str) -> None:
    """Put a picture in the middle of a cell; its name goes over its upper left corner."""
    picture.thumbnail((CELL_WIDTH, CELL_HEIGHT), Image.Resampling.LANCZOS)
    sheet.paste(picture, (left + (CELL_WIDTH - picture.width) // 2, top + (CELL_HEIGHT - picture.height) // 2))
    # 37: inside the narrowest pictures too, those of 256 pixels, which begin 32 pixels from the cell's edge.
    ImageDraw.Draw(sheet).text((left + 37, top + 12), name, "white", stroke_width=1, stroke_fill="black")
