"""The canvas that a 16-bit picture is painted on from back to front: textures in masks, outlines, sprites."""

import numpy as np

from gen.smd.art.models import STUFF
from gen.smd.art.palette import BIT16, dyed, palette_of
from gen.smd.art.sprites import BLOCK, Colours, Mask, outline, sprite, stuff_steps
from gen.smd.world import Thing, World

HEIGHT, WIDTH = 224, 256
"""The screen, in pixels."""
MARGIN = 2 * BLOCK
"""Columns beyond the view that things are drawn in, so that what reaches into it is not cut."""
INK = 0.28
"""Brightness of an outline."""


class Canvas:
    """A picture being painted from back to front, with a margin left and right."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.palette = palette_of(world, BIT16)
        self.width = WIDTH + 2 * MARGIN
        self.x0 = world.view.x - MARGIN / BLOCK
        self.colour: Colours = np.zeros((HEIGHT, self.width, 3), np.float32)
        y = (np.arange(HEIGHT)[::-1] + 0.5) / BLOCK + world.view.y
        self.shape = (HEIGHT, self.width)
        self.y, self.x = y[:, None], self.x0 + (np.arange(self.width)[None] + 0.5) / BLOCK

    def row(self, y: float) -> int:
        """The row of the picture whose upper edge lies at height y."""
        return HEIGHT - round((y - self.world.view.y) * BLOCK)

    def column(self, x: float) -> int:
        """The column whose left edge lies at x."""
        return round((x - self.x0) * BLOCK)

    def fill(self, mask: Mask, stuff: str, tone: float = 1.0, seed: int = 0, haze: float = 0.0) -> None:
        """Paint a stuff's texture where `mask` is, in five steps of brightness; with `haze` it fades to the sky."""
        box = bounds(mask)
        if box is None:
            return
        rows, columns = box
        steps = stuff_steps(stuff, seed % 3)
        first = int(self.world.view.x * BLOCK) + columns.start
        steps = steps[rows, np.arange(first, first + columns.stop - columns.start) % steps.shape[1]]
        colour = dyed(np.array(STUFF[stuff].colour), self.palette.land).astype(np.float32)
        table = colour * tone * np.linspace(0.72, 1.28, 5, dtype=np.float32)[:, None]
        inside, target = mask[box], self.colour[box]
        painted = np.clip(table, 0, 255)[steps[inside]]
        target[inside] = painted * (1 - haze) + target[inside] * haze if haze else painted

    def edge(self, mask: Mask, dark: float = INK) -> None:
        """Draw an outline around a mask, and a light line along its upper edge."""
        box = bounds(mask, 1)
        if box is None:
            return
        mask, target = mask[box], self.colour[box]
        lower = mask & ~np.pad(mask, ((1, 0), (0, 0)))[:-1]
        target[lower] = np.clip(target[lower] * 1.25 + 16, 0, 255)
        target[outline(mask)] *= dark

    def stamp(self, thing: Thing, haze: float = 0.0, land: bool = False) -> None:
        """Draw a thing's sprite with a dark outline; what belongs to the `land` is dyed like it."""
        picture = sprite(thing.kind, round(thing.size * 5) / 5, thing.facing)
        top, left = self.row(thing.y) - picture.top, self.column(thing.x) + picture.left
        height, width = picture.mask.shape
        up, down, west, east = max(0, top), min(HEIGHT, top + height), max(0, left), min(self.width, left + width)
        if up >= down or west >= east:
            return
        mask = np.zeros((HEIGHT, self.width), bool)
        inner = (slice(up - top, down - top), slice(west - left, east - left))
        mask[up:down, west:east] = picture.mask[inner]
        target = self.colour[up:down, west:east]
        chosen = picture.mask[inner]
        colour = picture.colour[inner][chosen]
        colour = dyed(colour, self.palette.land) if land else colour
        target[chosen] = colour * (1 - haze) + target[chosen] * haze
        around = (slice(max(0, up - 1), down + 1), slice(max(0, west - 1), east + 1))
        ink = outline(mask[around])
        self.colour[around][ink] *= INK + 0.5 * haze


def bounds(mask: Mask, margin: int = 0) -> tuple[slice, slice] | None:
    """The rows and columns that a mask reaches over, and `margin` more; None for an empty one."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    first, last = (
        (max(0, int(v[0]) - margin) for v in (rows, columns)),
        (int(v[-1]) + 1 + margin for v in (rows, columns)),
    )
    return tuple(slice(a, min(b, n)) for a, b, n in zip(first, last, mask.shape, strict=True))  # pyright: ignore[reportReturnType]
