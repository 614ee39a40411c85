"""Pixel art from the models: sprites at 16 pixels a block, tiles, outlines, and the colours that old consoles had."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gen.smd.art.models import MODELS, STUFF, add_model
from gen.smd.art.texture import PAINTERS
from gen.smd.raycast import Rays, cast
from gen.smd.scene import Solids, collate
from gen.smd.shading import Material, noise
from gen.smd.surface import surface
from gen.smd.world import Layer, View

BLOCK = 16
"""Pixels a block."""
Pixels = NDArray[np.uint8]
Colours = NDArray[np.floating[Any]]
"""8-bit sRGB values as floats, (..., 3)."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sprite:
    """A model seen from the front."""

    colour: Colours
    """(h, w, 3), shaded in four steps."""
    mask: Mask
    """(h, w): what is not transparent."""
    left: int
    """Pixels from the foot to the left edge (negative: the sprite reaches to the left of its foot)."""
    top: int
    """Pixels from the foot up to the upper edge."""

    def mirrored(self) -> "Sprite":
        """The same, looking to the left."""
        width = self.mask.shape[1]
        return Sprite(self.colour[:, ::-1], self.mask[:, ::-1], -self.left - width, self.top)


STEPS = np.array([0.55, 0.78, 1.0, 1.18], dtype=np.float32)
"""Brightness of a sprite's four tones."""


@functools.lru_cache(maxsize=512)
def sprite(kind: str, size: float = 1.0, facing: int = 1) -> Sprite:
    """The sprite of a model at a size; made once."""
    if facing < 0:
        return sprite(kind, size).mirrored()
    left, right, low, high = _bounds(kind)
    # 0.1 blocks of room on each side, so that rounding to pixels cuts nothing off.
    x0, x1, y0, y1 = (round(v * size * BLOCK) for v in (left - 0.1, right + 0.1, low - 0.1, high + 0.1))
    x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y1, y0, -1) - 0.5)
    grid = torch.tensor(np.stack([x / BLOCK, y / BLOCK, np.full_like(x, -20.0)]), dtype=torch.float32)
    solids: Solids[Material] = Solids()
    add_model(solids, kind, (0.0, 0.0, 0.0), size)
    scene = collate([solids])
    origin = grid.flatten(1)[None, None]
    rays = Rays(origin, torch.tensor([0.0, 0.0, 1.0]).view(1, 1, 3, 1).expand_as(origin))
    hits = cast(scene, rays)
    normal = surface(scene, rays, hits).normal[0, 0].numpy()
    light = (normal * np.array([-0.45, 0.75, -0.48])[:, None]).sum(0).reshape(x.shape)
    mask = hits.found[0, 0].numpy().reshape(x.shape)
    # One ray a pixel through its middle, from the front: hard edges, as pixel art has. Four tones of light, as drawn by
    # hand; what glows has the third, whatever its side.
    stuff = [STUFF[part[3]] for part in MODELS[kind]]
    which = hits.solid[0, 0].numpy().reshape(x.shape)
    base = np.array([s.colour for s in stuff], np.float32)[which]
    step = np.where(np.array([s.glow > 0.3 for s in stuff])[which], 2, np.clip((light + 0.25) * 3.4, 0, 3).astype(int))
    colour = np.clip(base * STEPS[step][..., None] + np.where(step == 3, 14, 0)[..., None], 0, 255)
    return Sprite(colour.astype(np.float32), mask, x0, y1)


def _bounds(kind: str) -> tuple[float, float, float, float]:
    """Left, right, low and high of a model, in blocks: generous where parts are turned."""
    low, high = [], []
    for part in MODELS[kind]:
        (x, y, _), half = part[1], part[2]
        taper = max(part[5]) if len(part) > 4 else 1.0  # pyright: ignore[reportGeneralTypeIssues]
        turned = len(part) > 4 and any(part[4])  # pyright: ignore[reportGeneralTypeIssues]
        wide = half[0] * max(1.0, taper)
        reach = (max(wide, half[1]),) * 2 if turned else (wide, half[1])
        low.append((x - reach[0], y - reach[1]))
        high.append((x + reach[0], y + reach[1]))
    (left, bottom), (right, top) = np.min(low, axis=0), np.max(high, axis=0)
    return float(left), float(right), float(bottom), float(top)


def outline(mask: Mask) -> Mask:
    """The pixels just outside a mask, above, below and beside it."""
    wide = np.pad(mask, 1)
    return (wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]) & ~mask


def profile(layer: Layer, view: View, width: int) -> NDArray[np.float64]:
    """Height in blocks of a layer's outline at each of `width` pixels of a view; it moves slower than the lane."""
    x = view.x / layer.distance + (np.arange(width) + 0.5) / BLOCK
    heights = np.asarray(layer.heights)
    return np.interp(x % len(heights), np.arange(len(heights) + 1), np.append(heights, heights[0]))


@functools.lru_cache(maxsize=64)
def stuff_texture(stuff: str, seed: int, height: int = 240, width: int = 768) -> NDArray[np.float32]:
    """Brightness around 1 of a wide piece of a stuff, (height, width), for 2D styles to cut from."""
    painter = PAINTERS.get(STUFF[stuff].pattern)
    v, u = torch.meshgrid(torch.arange(height) / BLOCK, torch.arange(width) / BLOCK, indexing="ij")
    if painter is None:
        return np.ones((height, width), np.float32)
    return painter(u, -v, torch.full_like(u, float(seed))).numpy()


@functools.lru_cache(maxsize=64)
def stuff_steps(stuff: str, seed: int) -> NDArray[np.uint8]:
    """The same brightness in five steps, 0 to 4: a fifth each, from 0.72 to 1.28."""
    return np.clip(np.rint((stuff_texture(stuff, seed) - 1) * 5) + 2, 0, 4).astype(np.uint8)


@functools.lru_cache(maxsize=8)
def speckle(seed: int, height: int = 240, width: int = 768) -> NDArray[np.float32]:
    """Even noise in 0..1, (height, width), of one pixel's grain."""
    v, u = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    return noise(u + 17.0 * seed, v).numpy()


@functools.cache
def bayer() -> NDArray[np.float32]:
    """The 4 x 4 ordered dither matrix, -0.5..0.5."""
    two = np.array([[0, 2], [3, 1]])
    four = np.block([[4 * two, 4 * two + 2], [4 * two + 3, 4 * two + 1]])
    return ((four + 0.5) / 16 - 0.5).astype(np.float32)


def fifteen_bits(colour: Colours, dither: float = 0.0) -> Pixels:
    """8-bit values -> the nearest colours of 5 bits a channel, spread to 0..255 as the hardware does."""
    if dither:
        height, width = colour.shape[:2]
        pattern = np.tile(bayer(), (height // 4 + 1, width // 4 + 1))[:height, :width, None]
        colour = colour + dither * 8 * pattern
    # The upper bits are repeated below, so that 31 becomes 255 and not 248.
    five = np.clip(np.rint(colour * (31 / 255)), 0, 31).astype(np.uint8)
    return ((five << 3) | (five >> 2)).astype(np.uint8)
