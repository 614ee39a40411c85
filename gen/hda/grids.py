"""The grid of `gen generate`: faces, or one face, with one or two things that vary along its sides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.hda.editing import Editor, Faces, Look
from gen.hda.parsing import MIX, MOST_VALUES, STRENGTH, TRUNCATION, Axis, parse_axis, parse_strengths, value_text
from gen.hda.pipeline import HDAPipeline
from gen.hda.settings import GenerateSettings
from gen.hda.sheets import sheet
from gen.media.resize import to_chw

SIDES = ("rows", "columns")


@dataclass(frozen=True)
class Axes:
    """What varies along the rows and the columns; None: the faces. Both None: there is no grid."""

    rows: Axis | None = None
    columns: Axis | None = None

    def __bool__(self) -> bool:
        return bool(self.rows or self.columns)

    @property
    def faces(self) -> int:
        """How many faces are in the grid at most."""
        return 1 if self.rows and self.columns else MOST_VALUES

    @property
    def given(self) -> dict[str, Axis]:
        """The axes that there are, by side."""
        return {side: axis for side, axis in (("rows", self.rows), ("columns", self.columns)) if axis}

    def check(self, editor: Editor, from_seeds: bool) -> None:
        """Raises `BadSetting` for an axis along which nothing would change, or that cannot be drawn."""
        for side, axis in self.given.items():
            if axis.key == STRENGTH and not editor.pipe.strengths:
                raise BadSetting(f"{side} {axis}: there is no adaptation whose strength could vary; give --adaptation.")
            if axis.key == TRUNCATION and not from_seeds:
                raise BadSetting(f"{side} {axis}: --latents are drawn as they are; truncation is for seeds.")
            for value in axis.values:
                editor.check(Look(1.0, {}).varied(axis.key, value, editor.target))
        keys = [self._by_number(axis, editor).key for axis in self.given.values()]
        if len(keys) > len(set(keys)):
            raise BadSetting(f"rows {self.rows}, columns {self.columns}: both vary the same; choose two things.")

    def text(self, editor: Editor) -> str:
        """For the mark of the grid."""
        return "".join(f", {side} {self._by_number(axis, editor)}" for side, axis in self.given.items())

    def _by_number(self, axis: Axis, editor: Editor) -> Axis:
        """With a direction's number in place of its name, which the user may change."""
        return axis if axis.key in (TRUNCATION, STRENGTH, MIX) else axis._replace(key=str(editor.target(axis.key)))

    def described(self, names: Sequence[str]) -> str:
        """For the user, after the grid was written."""
        varied = ", ".join(f"{side} {axis}" for side, axis in self.given.items())
        if self.faces == 1:
            return f"{names[0]}; {varied}"
        some = f"the first {self.faces} images" if len(names) > self.faces else "the same images"
        return f"{some}; {varied}"


def axes_of(settings: GenerateSettings, adapted: bool) -> Axes:
    """The axes that the settings name; without any, an adapted generator's strengths. Raises `BadSetting`."""
    rows, columns = (parse_axis(side, text) if (text := getattr(settings, side)) else None for side in SIDES)
    if rows or columns or not adapted:
        return Axes(rows, columns)
    return Axes(Axis(STRENGTH, tuple(parse_strengths(settings.strengths))))


def picture_grid(editor: Editor, faces: Faces, look: Look, axes: Axes) -> Image.Image:
    """One cell for each value of the rows and of the columns, with labels.

    Faces go along the side that has no axis; with two axes, all cells are of the first face.
    """
    varying, across = (axes.rows, axes.columns) if axes.rows else (axes.columns, None)
    assert varying is not None
    cells: list[list[NDArray[np.uint8]]] = []
    for value in varying.values:
        changed = look.varied(varying.key, value, editor.target)
        looks = [changed.varied(across.key, v, editor.target) for v in across.values] if across else [changed]
        cells.append([picture for each in looks for picture in _draw(editor, faces, each)])
    if not axes.rows:
        cells = [list(column) for column in zip(*cells, strict=True)]
    rows = [f"{axes.rows.key} {value_text(v)}" for v in axes.rows.values] if axes.rows else faces.names
    columns = [value_text(value) for value in axes.columns.values] if axes.columns else faces.names
    title = axes.columns.key if axes.columns else ""
    return sheet(cells, rows, columns, f"{faces.names[0]}: {title}" if across else title)


def _draw(editor: Editor, faces: Faces, look: Look) -> list[NDArray[np.uint8]]:
    """A picture (H, W, 3) of each face."""
    pipe = editor.pipe
    with pipe.lock:
        given = dict(pipe.strengths)
        pipe.set_strengths({name: look.strength * k for name, k in given.items()})
        try:
            return pipe(latents=editor.latents(faces, look), output_type="np").images
        finally:
            pipe.set_strengths(given)


def strength_grid(pipe: HDAPipeline, latents: Tensor, factors: Sequence[float]) -> NDArray[np.uint8]:
    """One row per factor, which multiplies the strengths of the pipeline, one column per latent: (H, W, 3)."""
    rows: list[Any] = []
    with pipe.lock:
        given = dict(pipe.strengths)
        for factor in factors:
            pipe.set_strengths({name: factor * k for name, k in given.items()})
            rows += [to_chw(a) for a in pipe(latents=latents, output_type="np").images]
        pipe.set_strengths(given)
    return make_grid(rows, nrow=len(latents), padding=2, pad_value=255).permute(1, 2, 0).numpy()
