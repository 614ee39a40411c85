"""The console styles: one file each in this folder, and one row each in `STYLES`.

A style is one function, in the file that its row names:

    def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[NDArray[np.uint8]]

It returns a picture (H, W, 3), 8-bit sRGB, for each world. With `size` the caller wants only the middle square, scaled
to `size` pixels a side: a style may leave out the rest and cast fewer rays, or ignore it. `device` is where the work
of many rays is done; a 2D style ignores it.

To add a style, write such a file and add a row; from outside the package, call `register` with the row.
Styles are imported when they are first used, so that command-line help needs neither torch nor numpy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from gen.errors import BadSetting, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gen.smd.world import World


class Draw(Protocol):
    """What a style exports as `render`; see the top of this file."""

    def __call__(self, worlds: "Sequence[World]", size: int | None, device: str) -> "list[NDArray[np.uint8]]":
        """Pictures (H, W, 3) of the worlds."""
        ...


@dataclass(frozen=True)
class Style:
    """One row of the list of styles. It can be pickled, so that a worker process needs no registration of its own."""

    name: str
    """On the command line, in folder names and in training records."""
    label: str
    """For people: a few words."""
    is_2d: bool
    """Drawn without rays: `size` and `device` change nothing."""
    function: str
    """Where its `render` is: "module:function"."""
    number: int
    """Label of its pictures; also part of the seeds of noise and of training samples. Unique, and never changed."""
    first_level: int = 125_000
    """Level of the million of each class that a stream of training samples begins with in this style (see
    `gen.smos.scenes`). Styles begin far apart, so that one batch shows different levels in each."""

    def load(self) -> Draw:
        """The style's function."""
        module, _, function = self.function.partition(":")
        return cast(Draw, getattr(import_module(module), function))


ON_A_GPU = 16
"""Worlds whose rays are cast at a time on a GPU: 5 million of the widest style."""

STYLES: dict[str, Style] = {
    style.name: style
    for style in (
        Style("8bit", "8-bit console", True, "gen.smd.styles.bit8:render", 0, 0),
        Style("16bit", "16-bit console", True, "gen.smd.styles.bit16:render", 1, 250_000),
        Style("lowpoly", "first 3D consoles", False, "gen.smd.styles.lowpoly:render", 2, 500_000),
        Style("hd", "console with shaders", False, "gen.smd.styles.hd:render", 3, 750_000),
    )
}


def register(style: Style) -> None:
    """Add a style from outside the package. Raises `BadSetting` if its name or number is taken."""
    if style.name in STYLES:
        raise BadSetting(f"style {style.name!r} is registered already; choose another name.")
    numbers = {row.number for row in STYLES.values()}
    if style.number in numbers:
        raise BadSetting(
            f"style {style.name!r}: number {style.number} is taken; the next free one is {max(numbers) + 1}."
        )
    STYLES[style.name] = style


def find_style(name: str) -> Style:
    """The row of a style. Raises `BadSetting` for an unknown name."""
    if name not in STYLES:
        raise BadSetting(unknown("style", name, STYLES))
    return STYLES[name]


def render(
    worlds: "Sequence[World]", style: str | Style, size: int | None = None, device: str = "cpu"
) -> "list[NDArray[np.uint8]]":
    """Pictures (H, W, 3) of the worlds in a style, at its native size; smaller 3D pictures where `size` is given.

    `size` and `device` are explained at the top of this file. Raises `BadSetting` for an unknown style.
    """
    draw = (find_style(style) if isinstance(style, str) else style).load()
    # A GPU is faster with many rays at a time; a CPU with one world, whose data then stay in its cache.
    together = 1 if device == "cpu" else ON_A_GPU
    groups = (worlds[i : i + together] for i in range(0, len(worlds), together))
    return [picture for group in groups for picture in draw(group, size, device)]
