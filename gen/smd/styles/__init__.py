"""The four console styles: one world in, one picture out."""

from collections.abc import Sequence
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from gen.errors import BadSetting
from gen.smd.world import World

STYLES = ("8bit", "16bit", "lowpoly", "hd")


def render(
    worlds: Sequence[World], style: str, size: int | None = None, device: str = "cpu"
) -> list[NDArray[np.uint8]]:
    """Pictures (H, W, 3) of the worlds in a style, at its native size.

    With `size` the 3D styles cast no more rays than a square of that many pixels needs, on `device`; the 2D styles
    stay what they are. Raises `BadSetting` for an unknown style.
    """
    if style not in STYLES:
        raise BadSetting(f"style {style!r} is unknown: choose from {', '.join(STYLES)}.")
    if style in ("8bit", "16bit"):
        draw = import_module(f"gen.smd.styles.bit{style.removesuffix('bit')}").render
        return [draw(world) for world in worlds]
    draw = import_module(f"gen.smd.styles.{style}").render
    together = len(worlds) if device != "cpu" else 1  # a GPU wants many rays; a CPU's cache wants few
    groups = (worlds[i : i + together] for i in range(0, len(worlds), together))
    return [picture for group in groups for picture in draw(group, size, device)]
