"""The look of the first consoles with 3D: 320 x 240, light by facet, 32 x 32 textures, fog, 15-bit dither.

Rays stand in for the triangles of the hardware; what is copied from it is what one sees: facets, texels, colours.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.smd.art.light import air, graded, lamps, sunlight
from gen.smd.art.moods import MOODS, in_palette
from gen.smd.art.palette import LOWPOLY, exposed, palette_of
from gen.smd.art.sprites import fifteen_bits
from gen.smd.art.stage import FROM_ABOVE, build, cameras
from gen.smd.art.texture import texture
from gen.smd.raycast import cast, image
from gen.smd.scene import BOX, PLANE, collate
from gen.smd.shading import COLOUR, GLOW, Pixels, lamplit, material_rows, sunlit, tone, unit
from gen.smd.surface import surface
from gen.smd.world import World

HEIGHT, WIDTH = 240, 320
TEXELS = 6.0
"""Texels a block: coarse enough to be seen at 320 pixels."""


def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[NDArray[np.uint8]]:
    """Pictures (240, 320, 3) of worlds, in one batch; with `size`, whatever it is, the middle square (240, 240, 3)."""
    width = WIDTH if size is None else HEIGHT
    palettes = [palette_of(world, LOWPOLY) for world in worlds]
    scenes = [build(world, palette.land) for world, palette in zip(worlds, palettes, strict=True)]
    scene, rows = collate(scenes).to(device), material_rows(scenes).to(device)
    camera = cameras(worlds, FROM_ABOVE, 4 / 3).to(device)
    rays = camera.rays(HEIGHT, width)
    hits = cast(scene, rays)
    pixels = Pixels.of(rays, hits, surface(scene, rays, hits), rows, 1 / (HEIGHT * float(camera.focal[0])))
    moods = [in_palette(MOODS[w.scene], palette) for w, palette in zip(worlds, palettes, strict=True)]
    light, lamp = sunlight(worlds, moods).to(device), lamps(worlds, moods).to(device)
    normal = facets(pixels, scene.kind[pixels.scene, pixels.solid])
    painted = texture(pixels, TEXELS)
    received = sunlit(pixels, normal, light, 1.0) + lamplit(pixels, normal, lamp)[0]
    colour = pixels.row[COLOUR] * painted * received + pixels.row[GLOW] * painted
    zenith, horizon, fog = (value.to(device) for value in air(moods))
    # Fog from 14 blocks on, just behind the lane, and twice as thick as in hd: it hid how little was drawn.
    clear = torch.exp(-2 * fog[pixels.scene, 0] * (pixels.distance - 14).clamp(min=0))
    colour = torch.lerp(pixels.each(horizon), colour, clear)
    picture = image(pixels.spread(colour, sky(rays.direction, zenith, horizon)), HEIGHT, width)
    shown = (p.permute(1, 2, 0).cpu().numpy().astype(np.float32) for p in tone(graded(picture, worlds)))
    # Dither comes last, as in the hardware: a later step would add colours that 15 bits do not have.
    return [fifteen_bits(exposed(p, palette.light), 0.8) for p, palette in zip(shown, palettes, strict=True)]


def facets(pixels: Pixels, kind: Tensor) -> Tensor:
    """Normals (3, n) of a coarse mesh: those of round solids are held to an eighth of a turn."""
    x, y, z = pixels.face
    eighth = math.pi / 4
    around = torch.round(torch.atan2(z, x) / eighth) * eighth
    up = torch.round(torch.asin(y.clamp(-1, 1)) / eighth) * eighth
    coarse = torch.stack([up.cos() * around.cos(), up.sin(), up.cos() * around.sin()])
    # `coarse` is in the solid's axes. The difference of the true normal in both systems is added instead of a rotation:
    # close enough, and the axes need not be gathered again.
    mixed = unit(0.35 * pixels.normal + 0.65 * (coarse + pixels.normal - pixels.face))
    return torch.where((kind == BOX) | (kind == PLANE), pixels.normal, mixed)


def sky(direction: Tensor, zenith: Tensor, horizon: Tensor) -> Tensor:
    """A gradient (3, S, P, N) by the height of the rays (S, P, 3, N), in bands as few bits make them; haze below."""
    up = direction[:, :, 1]
    up = torch.where(up > 0, 2.2 * up, -0.7 * up).clamp(0, 1)
    low, high = (c.T[:, :, None, None] for c in (horizon, zenith))
    return torch.lerp(low, high, up)
