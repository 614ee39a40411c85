"""A style from outside the package: this file is all that it takes, and `register(CHECKS)`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gen.smd.styles import Style
from gen.smd.world import World

CHECKS = Style("checks", "checkerboard", is_2d=True, function=f"{__name__}:render", number=4)


def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[NDArray[np.uint8]]:
    """Pictures (64, 80, 3) of worlds: squares, as bright as the ground is high."""
    squares = np.indices((64, 80)).sum(0)[..., None] // 8 % 2
    return [(squares * (60, 25, 40 + 20 * max(g or 0 for g in world.ground))).astype(np.uint8) for world in worlds]
