"""Pictures of one size in a table with labels, as one picture."""

from collections.abc import Sequence

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP, MARGIN = 2, 8
"""Pixels between pictures, and beside a label."""

LINE, LETTERS = 18, 12
"""Height of a line of labels, and size of its letters, in pixels."""

WIDEST = 300
"""Pixels for the labels of rows."""

USUAL = 256
"""Side of pictures beside which labels have these sizes; beside larger ones, they grow as the pictures do."""


def sheet(
    cells: Sequence[Sequence[NDArray[np.uint8]]], rows: Sequence[str], columns: Sequence[str] = (), title: str = ""
) -> Image.Image:
    """A row of `cells`, (H, W, 3) each, for each label in `rows`, which stands on the left.

    `columns`: labels above the columns; `title`: a line above them. Labels are cut to the room there is. Rows may
    differ in length.
    """
    scale = max(1, cells[0][0].shape[0] // USUAL)
    margin, line = MARGIN * scale, LINE * scale
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), LETTERS * scale)  # Pillow's own font has no λ
    rows = [_fitting(row, font, WIDEST * scale) for row in rows]
    height, width = (side + GAP for side in cells[0][0].shape[:2])
    left = round(max(font.getlength(row) for row in rows)) + 2 * margin
    top = line * (bool(title) + bool(columns))
    across = max(left + width * max(map(len, cells)), round(font.getlength(title)) + 2 * margin if title else 0)
    picture = Image.new("RGB", (across, top + height * len(cells)), "white")
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((margin, 2), title, "black", font=font)
    for column, label in enumerate(columns):
        middle = left + column * width + width // 2
        draw.text((middle, top - line + 2), _fitting(label, font, width), "black", font=font, anchor="ma")
    for row, (label, pictures) in enumerate(zip(rows, cells, strict=True)):
        draw.text((left - margin, top + row * height + height // 2), label, "black", font=font, anchor="rm")
        for column, cell in enumerate(pictures):
            picture.paste(Image.fromarray(cell), (left + column * width, top + row * height))
    return picture


def _fitting(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The label, cut to so many pixels."""
    if font.getlength(label) <= width:
        return label
    while label and font.getlength(f"{label}…") > width:
        label = label[:-1]
    return f"{label}…"
