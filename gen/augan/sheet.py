"""Contact sheets of an evaluation: one row per frame with all its translations and the model's map."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gen.augan.arguments import EvaluateSettings
from gen.augan.rows import Translate
from gen.media.files import write_atomically
from gen.media.left_out import LeftOut
from gen.metrics.distances import list_images, read_batches
from gen.translation.maps import SCALES, colour_uncertainty
from gen.translation.pipeline import TranslationPipeline
from gen.translation.settings import Direction, MapName, Resolution

SHEET_NAME = "sheet.jpg"
RENDERED_SHEET_NAME = "rendered.jpg"
BACK_SHEET_NAME = "back.jpg"
SHEETS = (SHEET_NAME, RENDERED_SHEET_NAME, BACK_SHEET_NAME)
SHEET_FRAMES = 24
"""Frames of a sheet at most."""

WIDTH = 256
"""Width of an image in pixels."""
HEAD, GAP = 16, 2
"""Pixels: height of the header, and the gap between images."""


def sheets_of(settings: EvaluateSettings, result: Mapping[str, Any]) -> list[str]:
    """The contact sheets that a measurement has written."""
    made = {
        SHEET_NAME: settings.out is not None and "adverse_to_normal" in result,
        RENDERED_SHEET_NAME: settings.rendered is not None,
        BACK_SHEET_NAME: settings.shown is not None and "normal_to_adverse" in result,
    }
    return [name for name in SHEETS if made[name]]


def remove_old_sheets(settings: EvaluateSettings, result: Mapping[str, Any]) -> None:
    """Remove the sheets of an earlier measurement from `out`, perhaps of another model; a card leaves them alone."""
    if settings.out is None:
        return
    for name in set(SHEETS) - set(sheets_of(settings, result)):
        (settings.out / name).unlink(missing_ok=True)


def save_sheet(
    path: Path,
    folder: Path,
    rows: dict[str, Translate],
    pipe: TranslationPipeline,
    resolution: Resolution,
    left_out: LeftOut,
    direction: Direction = "adverse_to_normal",
) -> None:
    """Write a contact sheet of a folder's frames by all `rows`; the model (`pipe`) is last, with its map."""

    def model(frame: Tensor) -> tuple[Tensor, Tensor | None]:
        return pipe.translate_frames(frame, direction, resolution=resolution, which_map="auto")

    others = {name: row for name, row in rows.items() if name != "model"}
    # A copy: what only a sheet was to show is missing from no number.
    frames = read_batches(list_images(folder, SHEET_FRAMES), 1, LeftOut(left_out))
    sheet = contact_sheet(frames, others, model, pipe.shown_map(direction))
    with write_atomically(path) as partial:
        sheet.save(partial, quality=90)


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
