"""The look of a console with programmable shading: 640 x 480, soft shadows, highlights and rim light, bloom, depth of
field, a curved horizon of haze."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gen.smd.art.light import air, graded, lamps, sunlight
from gen.smd.art.moods import under_any_sky
from gen.smd.art.stage import BEHIND, build, cameras
from gen.smd.art.texture import texture
from gen.smd.raycast import TILE, Rays, blocked, cast, image
from gen.smd.scene import Scene, collate
from gen.smd.shading import (
    COLOUR,
    GLOSS,
    GLOW,
    Lamps,
    Pixels,
    Sunlight,
    bloom,
    blur,
    dot,
    highlight,
    lamplit,
    material_rows,
    noise,
    sunlit,
    tone,
    unit,
)
from gen.smd.surface import surface
from gen.smd.world import World

HEIGHT, WIDTH = 480, 640
SHARPER = 8 / 7
"""Rows that are cast for a row of a smaller picture (256 for 224): scaling down smooths edges, which have one ray."""
FOCUS = BEHIND.distance
"""Distance in blocks at which the picture is sharp: that of the hero."""


def render(worlds: Sequence[World], size: int | None = None, device: str = "cpu") -> list[NDArray[np.uint8]]:
    """Pictures (480, 640, 3) of worlds, in one batch; with `size` the middle square, `size` x `SHARPER` a side."""
    height, width = (HEIGHT, WIDTH) if size is None else (min(HEIGHT, round(size * SHARPER)),) * 2
    scenes = [build(world) for world in worlds]
    scene, rows = collate(scenes).to(device), material_rows(scenes).to(device)
    camera = cameras(worlds, BEHIND, 4 / 3).to(device)
    rays = camera.rays(height, width)
    hits = cast(scene, rays)
    pixels = Pixels.of(rays, hits, surface(scene, rays, hits), rows, 1 / (height * float(camera.focal[0])))
    moods = [under_any_sky(w) for w in worlds]
    light, lamp = sunlight(worlds, moods).to(device), lamps(worlds, moods).to(device)
    zenith, horizon, fog = (value.to(device) for value in air(moods))
    lit = soft_shadow(scene, pixels, light)
    colour = shade(pixels, light, lamp, lit, zenith)
    clear = torch.exp(-fog[pixels.scene, 0] * (pixels.distance - FOCUS + 2).clamp(min=0))
    colour = torch.lerp(pixels.each(horizon), colour, clear)
    picture = image(pixels.spread(colour, sky(rays.direction, zenith, horizon, light)), height, width)
    picture = graded(picture, worlds)
    depth = image(hits.distance.clamp(max=200)[:, :, None], height, width)
    picture = bloom(depth_of_field(picture, depth), 0.12, height / 120)
    return [p.permute(1, 2, 0).cpu().numpy() for p in tone(picture)]


def shade(pixels: Pixels, light: Sunlight, lamp: Lamps, lit: Tensor, zenith: Tensor) -> Tensor:
    """Light (3, n) of the surfaces: texture, bumps, sun, sky, lamps, highlights, and a rim of sky light."""
    painted = texture(pixels)
    normal = unit(pixels.normal + 0.10 * _bumps(pixels))
    gloss = pixels.row[GLOSS]
    diffuse, shiny = lamplit(pixels, normal, lamp, gloss * 0.7)
    near = _openness(pixels)
    received = sunlit(pixels, normal, light, lit) * near + diffuse
    facing = -dot(pixels.view, pixels.normal)
    rim = (1 - facing).clamp(0, 1) ** 3 * (normal[1] + 0.6).clamp(0, 1)
    mirrored = pixels.view[1] + 2 * facing * normal[1]  # height of the mirrored direction: how much sky it sees
    shiny = shiny + gloss * highlight(pixels.view, normal, pixels.each(light.towards), 60) * lit * pixels.each(
        light.sun
    )
    shiny = shiny + (gloss * (0.08 + 0.5 * (1 - facing).clamp(0, 1) ** 4) * mirrored.clamp(0, 1)) * pixels.each(zenith)
    sky_light = pixels.each(light.sky)
    return pixels.row[COLOUR] * painted * (received + 0.5 * rim * sky_light) + shiny + pixels.row[GLOW] * painted


def _bumps(pixels: Pixels) -> Tensor:
    """A little unevenness (3, n), fixed to the point in the world."""
    x, y, z = pixels.point * 14
    one, two = noise(x + y, z) * 2 - 1, noise(z - y, x) * 2 - 1
    return torch.stack([one, one * two, two])


def _openness(pixels: Pixels) -> Tensor:
    """Less sky light in the lower part of what faces the viewer: a cheap ambient occlusion by height, (n,)."""
    upright = (1 - pixels.face[1].abs()).clamp(0, 1)
    return 1 - 0.25 * upright * torch.exp(-(pixels.local[1] + 1.0).clamp(min=0))


def soft_shadow(scene: Scene, pixels: Pixels, light: Sunlight) -> Tensor:
    """How much of the sun reaches each pixel (n,): one ray for 2 x 2 pixels to a sun of some width, then smoothed.

    A quarter of the rays, because they cost time and a soft edge needs no more.
    """
    wanted = torch.zeros_like(pixels.where)
    wanted[pixels.where] = (dot(pixels.normal, pixels.each(light.towards)) > 0) & (pixels.distance < 45)
    origin = _sparse(pixels.spread(pixels.point + 0.03 * pixels.normal))
    # Each ray aims at a random point of the sun, by noise of the point in the world: 83 makes neighbours differ.
    x, y, z = (83 * origin).unbind(2)
    one, two = noise(x, y + z) - 0.5, noise(z + y, x) - 0.5
    jittered = light.towards[:, None, :, None] + 0.06 * torch.stack([one, one * two, two], 2)
    rays = Rays(origin, jittered * jittered.square().sum(2, keepdim=True).rsqrt())
    shadow = blocked(scene, rays, pixels.distance.new_tensor(30.0), _sparse(wanted)).float()
    tiles = shadow.flatten(0, 1).unflatten(-1, (1, TILE // 2, TILE // 2))
    smooth = F.avg_pool2d(tiles, 3, 1, 1, count_include_pad=False)
    whole = F.interpolate(smooth, (TILE, TILE), mode="bilinear", align_corners=False)
    return 1 - whole.flatten(1).view_as(pixels.where)[pixels.where]


def _sparse(values: Tensor) -> Tensor:
    """Every other ray of every other row of the tiles: (..., 256) -> (..., 64)."""
    return values.unflatten(-1, (TILE, TILE))[..., ::2, ::2].flatten(-2)


def sky(direction: Tensor, zenith: Tensor, horizon: Tensor, light: Sunlight) -> Tensor:
    """The sky (3, S, P, N) along rays (S, P, 3, N): a gradient, thin clouds, and the glow around the sun."""
    x, up, z = direction.unbind(2)
    low, high = (c.T[:, :, None, None] for c in (horizon, zenith))
    colour = torch.lerp(low, high, (up.abs() * 2.4).clamp(0, 1) ** 0.8)
    layer = 10 / (up + 0.12).clamp(min=0.06)
    veil = ((noise(x * layer + 5, z * layer) - 0.55) * 2).clamp(0, 1) * (up * 5).clamp(0, 1) * 0.35
    colour = torch.lerp(colour, low * 1.05, veil)
    glow = (
        torch.einsum("spcn,sc->spn", direction, -light.towards * torch.tensor([1, -1, 1], device=up.device)).clamp(
            min=0
        )
        ** 6
    )
    return colour + 0.25 * glow * light.sun.T[:, :, None, None]


def depth_of_field(picture: Tensor, depth: Tensor) -> Tensor:
    """What lies far behind or before the lane is blurred, (S, 3, H, W) with depths (S, 1, H, W)."""
    height = picture.shape[-2]
    circle = blur(((depth - FOCUS - 3) / 22).clamp(0, 1), height / 240)
    return torch.lerp(picture, blur(picture, height / 140), circle)
