"""A contact sheet: one row per frame with all its translations and the model's map."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gen.translation.maps import SCALES, colour_uncertainty
from gen.translation.settings import MapName

WIDTH = 256
"""Width of an image in pixels."""
HEAD, GAP = 16, 2
"""Pixels: height of the header, and the gap between images."""


def contact_sheet(
    frames: Iterable[Tensor],
    rivals: Mapping[str, Callable[[Tensor], Tensor]],
    model: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    shown: MapName | None,
) -> Image.Image:
    """One row per frame: source, its translation by each rival and by the model, and the model's map if it has one.

    The frames, which every function takes, are (1, H, W, 3) uint8; `shown` is the name of the map (1, H, W) that
    `model` returns.
    """
    rows: list[dict[str, Image.Image]] = []
    for frame in frames:
        pictures = {"source": frame} | {name: rival(frame) for name, rival in rivals.items()}
        pictures["model"], scale = model(frame)
        if scale is not None:
            coloured = colour_uncertainty(scale[0].numpy().astype(np.float32), SCALES[shown])
            pictures[f"{shown} map"] = torch.from_numpy(coloured)[None]
        rows.append({name: reduced(picture) for name, picture in pictures.items()})
    return grid(rows)


def reduced(picture: Tensor) -> Image.Image:
    """Resize a frame (1, H, W, 3) uint8 to `WIDTH` pixels across."""
    image = Image.fromarray(picture[0].cpu().numpy())
    return image.resize((WIDTH, max(1, round(image.height * WIDTH / image.width))), Image.Resampling.BOX)


def grid(rows: Sequence[Mapping[str, Image.Image]]) -> Image.Image:
    """Arrange images of equal width in rows, with their names above the columns; rows may differ in height."""
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
