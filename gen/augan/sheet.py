"""A contact sheet: frames in rows, and beside each what every translation makes of it, and the model's map."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gen.metrics.distances import read_batches
from gen.translation.maps import SCALES, colour_uncertainty
from gen.translation.settings import MapName

WIDTH = 256
"""Pixels across a picture."""
HEAD, GAP = 16, 2
"""Pixels of the line of names, and between pictures."""


def contact_sheet(
    paths: Sequence[Path],
    rivals: Mapping[str, Callable[[Tensor], Tensor]],
    model: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    shown: MapName | None,
) -> Image.Image:
    """One row a frame: source, its translation by each rival and by the model, and the model's map where it has one.

    Every function takes frames (1, H, W, 3) uint8; the map (1, H, W) is the one that `shown` names.
    """
    rows: list[dict[str, Image.Image]] = []
    for frame in read_batches(paths, 1):
        pictures = {"source": frame} | {name: rival(frame) for name, rival in rivals.items()}
        pictures["model"], scale = model(frame)
        if scale is not None:
            coloured = colour_uncertainty(scale[0].numpy().astype(np.float32), SCALES[shown])
            pictures[f"{shown} map"] = torch.from_numpy(coloured)[None]
        rows.append({name: reduced(picture) for name, picture in pictures.items()})
    return grid(rows)


def reduced(picture: Tensor) -> Image.Image:
    """(1, H, W, 3) uint8 at `WIDTH` pixels across."""
    image = Image.fromarray(picture[0].cpu().numpy())
    return image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.BOX)


def grid(rows: Sequence[Mapping[str, Image.Image]]) -> Image.Image:
    """Pictures of equal width, one row each, under their names; rows may differ in height."""
    names = list(rows[0])
    heights = [max(picture.height for picture in row.values()) + GAP for row in rows]
    sheet = Image.new("RGB", (len(names) * (WIDTH + GAP), HEAD + sum(heights)), "white")
    draw, top = ImageDraw.Draw(sheet), HEAD
    for column, name in enumerate(names):
        draw.text((column * (WIDTH + GAP) + 4, 2), name, "black")
    for row, height in zip(rows, heights, strict=True):
        for column, name in enumerate(names):
            sheet.paste(row[name], (column * (WIDTH + GAP), top))
        top += height
    return sheet
