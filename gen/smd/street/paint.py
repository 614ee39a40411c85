"""What the surfaces of a street look like before any weather: asphalt and markings, facades, leaves, car windows.

There is one ray per pixel (or a few), so every pattern fades to its mean where a pixel is wider than its detail, or
the picture would flicker in a clip. Lengths are metres. Colours and contrasts were chosen by eye.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gen.smd.shading import COLOUR, GLOSS, GLOW, LABEL, PATTERN, SCALE, SEED, Pixels, dot, noise, on_face, scatter, unit
from gen.smd.street.solids import CABIN, FACADE, GROUND, LAMP, LAND, LEAVES, MARKING, PAVEMENT, ROAD, ROOF, ROUGH
from gen.smd.street.street import LANE, STOREY, Street
from gen.tensors import on_device


class Paint(NamedTuple):
    """The surface at each pixel, before any weather."""

    albedo: Tensor
    """(3, n)."""
    normal: Tensor
    """(3, n), roughened."""
    gloss: Tensor
    """(n,)."""
    glow: Tensor
    """(3, n) that is always there."""
    lamp: Tensor
    """(3, n) that is there when lamps are lit."""
    label: Tensor
    """(n,) int64."""
    level: Tensor
    """(n,) bool: road, pavement or ground, which get wet and white."""


def paint(pixels: Pixels, street: Street) -> Paint:
    """What the surfaces of one street are like at each pixel, by the pattern of the material there."""
    row, pattern = pixels.row, pixels.row[PATTERN]
    glow, is_lamp = row[GLOW], pattern == LAMP
    result = Paint(
        row[COLOUR].clone(),
        pixels.normal.clone(),
        row[GLOSS].clone(),
        torch.where(is_lamp, 0, glow),
        torch.where(is_lamp, glow, 0),
        row[LABEL].long(),
        pattern == LAND,
    )
    for kind, painter in ((FACADE, _facade), (LEAVES, _leaves), (ROOF, _roof), (CABIN, _cabin), (ROUGH, _rough)):
        at = (pattern == kind).nonzero()[:, 0]
        if len(at):
            painter(result, pixels.some(at), at)
    at = result.level.nonzero()[:, 0]
    if len(at):
        _land(result, pixels.some(at), at, street)
    return result


def _colour(values: list[float], like: Tensor) -> Tensor:
    """A colour as (3, 1), to be broadcast over pixels."""
    return on_device(values, like.device)[:, None]


def _cover(distance: Tensor, footprint: Tensor) -> Tensor:
    """Share of a pixel inside an edge that is `distance` away, negative outside: a box filter."""
    return (distance / footprint + 0.5).clamp(0, 1)


def _grain(u: Tensor, v: Tensor, size: float, footprint: Tensor) -> Tensor:
    """Noise in -1..1 whose finest detail is `size`; it fades where a pixel is wider than its blobs."""
    return (noise(u / size, v / size) * 2 - 1) * (1.5 - footprint / (size * 6)).clamp(0, 1)


def _rough(result: Paint, p: Pixels, at: Tensor) -> None:
    """Plaster, bark, cloth: grain of 3 cm."""
    u, v = on_face(p)
    result.albedo[:, at] *= 1 + 0.35 * _grain(u + p.row[SEED], v, 0.03, p.footprint)


def _leaves(result: Paint, p: Pixels, at: Tensor) -> None:
    """Foliage on a smooth ball: dapples of light and shade, and normals that point every way, as leaves do."""
    u, v = on_face(p)
    u, v = u + p.row[SEED], v + 0.37 * p.row[SEED]
    dapple = _grain(u, v, 0.05, p.footprint)
    result.albedo[:, at] *= (0.85 + 0.75 * dapple).clamp(0.12)
    jitter = torch.stack([dapple, _grain(u + 9, v + 5, 0.06, p.footprint), _grain(u + 3, v + 17, 0.06, p.footprint)])
    result.normal[:, at] = unit(p.normal + 0.7 * jitter)


def _roof(result: Paint, p: Pixels, at: Tensor) -> None:
    """Rows of tiles, 35 cm each."""
    u, v = on_face(p)
    tiles = ((v / 0.35).frac().abs() - 0.5).abs() * 2
    fade = (1 - p.footprint / 0.3).clamp(0, 1)
    result.albedo[:, at] *= 1 - 0.3 * tiles * fade + 0.25 * _grain(u + p.row[SEED], v, 0.1, p.footprint)


def _cabin(result: Paint, p: Pixels, at: Tensor) -> None:
    """Car windows: glass all round between sill and roof, with pillars.

    A cabin has no pattern of its own, so its material's scale and seed carry its half length and half height.
    """
    x, y, z = p.local
    long, high = p.row[SCALE], p.row[SEED]
    side = p.face[0].abs() > 0.5
    across = torch.where(side, z / long, x / (x.abs().amax() + 1e-3))
    pillar = side & (((across - 0.08).abs() < 0.05) | (across.abs() > 0.86 - 0.2 * (y / high + 1) / 2))
    band = (y / high > -0.78) & (y / high < 0.72) & (p.face[1].abs() < 0.9)
    glass = band & ~pillar
    tint = _colour([0.016, 0.019, 0.022], x)
    result.albedo[:, at] = torch.where(glass, tint, result.albedo[:, at])
    result.gloss[at] = torch.where(glass, 0.9, result.gloss[at])


def _facade(result: Paint, p: Pixels, at: Tensor) -> None:
    """Windows in a grid of columns and storeys, with frames, ledges, stains and, at night, some that are lit."""
    u, _ = on_face(p)
    y, width, seed = p.point[1], p.row[SCALE], p.row[SEED]
    column, floor = (u / width).floor(), (y / STOREY).floor()
    a, b = (u / width - column - 0.5) * width, y - floor * STOREY
    shop = (floor == 0) & (seed % 3 < 1.5)  # half of the houses have shops, with larger windows, at street level
    half = torch.where(shop, width * 0.44, width * 0.27)
    low, high = torch.where(shop, 0.5, 0.95), torch.where(shop, 2.6, 2.45)
    # A pixel on a wall seen at a flat angle is long; below 0.15 (81 degrees) it would blur windows that are still seen.
    foot = p.footprint.clamp(min=1e-3) / dot(p.view, p.normal).abs().clamp(min=0.15)

    def window(grow: float) -> Tensor:
        return _cover(half + grow - a.abs(), foot) * _cover(b - low + grow, foot) * _cover(high + grow - b, foot)

    wall_side = p.face[1].abs() < 0.5
    pane = window(0.0) * wall_side
    frame = (window(0.12) * wall_side - pane).clamp(0, 1)
    ledge = _cover(0.1 - (b - STOREY + 0.1).abs(), foot) * wall_side
    which = scatter(column, floor, seed)
    stain = 1 + 0.22 * _grain(u + seed * 3, y * 0.6, 0.15, p.footprint) + 0.12 * _grain(u, y + seed, 0.02, p.footprint)
    albedo = result.albedo[:, at] * stain
    albedo = albedo * (1 - 0.35 * ledge)
    albedo = torch.lerp(albedo, albedo * 0.4 + 0.32, frame)
    glass = torch.stack([0.05 + 0.10 * which, 0.06 + 0.11 * which, 0.08 + 0.12 * which])
    result.albedo[:, at] = torch.lerp(albedo, glass, pane)
    result.gloss[at] = 0.8 * pane
    # At night three of four shops and one of four windows are lit, most in warm light.
    lit = ((which < torch.where(shop, 0.75, 0.24)) * (0.3 + scatter(floor, column, seed))) * pane
    curtain = 0.8 + 0.2 * _grain(u, y, 0.05, p.footprint)
    warm = _colour([1.0, 0.72, 0.4], u)
    cool = _colour([0.85, 0.92, 1.0], u)
    colour = torch.where((scatter(seed, floor, column) < 0.75), warm, cool)
    result.lamp[:, at] = colour * (lit * curtain * torch.where(shop, 0.5, 0.22))


def _land(result: Paint, p: Pixels, at: Tensor, street: Street) -> None:
    """Road, markings, pavement and verge, all on one plane."""
    x, z, foot = p.point[0], p.point[2], p.footprint
    along = foot / p.view[1].abs().clamp(min=0.004)  # a pixel's length on the ground
    half, crossing = street.half_width, street.crossing
    side_street = (z - crossing).abs() < 4.2
    on_road = (x.abs() < half) | side_street
    on_pavement = ~on_road & (x.abs() < half + street.pavement)
    coarse, fine = _grain(x, z, 0.5, along), _grain(x + 7, z, 0.03, along)
    streak = _grain(x, z * 0.06, 0.12, foot)
    track = torch.cos(x * (4 * math.pi / LANE))  # two darker tracks a lane
    # Worn asphalt reflects 5 to 12 % of the light.
    asphalt = 0.088 * (1 + 0.07 * coarse + 0.16 * fine + 0.10 * streak - 0.05 * track)
    crack = _cover(0.004 - (noise(x * 2 + 40, z * 2) - 0.5).abs() * 0.3, foot) * (noise(x, z) > 0.7) * (along < 0.2)
    road = asphalt * (1 - 0.35 * crack) * _colour([1.0, 1.0, 1.03], x)
    white, yellow = _markings(x, z, foot, along, street)
    # Paint is worn in spots, so markings are not perfectly even.
    wear = (0.8 + 0.4 * fine - 0.3 * (coarse > 0.5)).clamp(0, 1)
    road = torch.lerp(road, _colour([0.55, 0.55, 0.53], x), (white * wear))
    road = torch.lerp(road, _colour([0.55, 0.38, 0.06], x), (yellow * wear))
    slab = torch.maximum(_lines(x, 0.9, 0.012, foot), _lines(z, 0.9, 0.012, along))
    stone = 0.24 * (1 + 0.14 * coarse + 0.2 * fine) * (1 - 0.45 * slab)
    kerb = _cover(0.16 - (x.abs() - half - 0.16).abs(), foot)
    pavement = (stone * (1 + 0.35 * kerb)) * _colour([1.0, 0.97, 0.92], x)
    ground = _colour([0.055, 0.085, 0.028] if street.verge_is_green else [0.17, 0.15, 0.125], x)
    verge = ground * (1 + 0.4 * coarse + 0.5 * fine)
    result.albedo[:, at] = torch.where(on_road, road, torch.where(on_pavement, pavement, verge))
    marked = on_road & (white + yellow > 0.5)  # half of the pixel
    label = torch.where(on_road, torch.where(marked, MARKING, ROAD), torch.where(on_pavement, PAVEMENT, GROUND))
    result.label[at] = label
    bump = torch.stack([fine, torch.zeros_like(fine), _grain(x + 31, z + 5, 0.03, along)])
    result.normal[:, at] = unit(p.normal + 0.03 * bump)


def _lines(u: Tensor, period: float, half: float, footprint: Tensor) -> Tensor:
    """Coverage of lines of half width `half` at every multiple of `period`."""
    away = (u / period - (u / period).round()).abs() * period
    return _cover(half - away, footprint) * (half * 2 / footprint).clamp(max=1)


def _band(u: Tensor, centre: float, half: float, footprint: Tensor) -> Tensor:
    """Coverage of one line of half width `half` around `centre`."""
    return _cover(half - (u - centre).abs(), footprint) * (half * 2 / footprint).clamp(max=1)


def _markings(x: Tensor, z: Tensor, foot: Tensor, along: Tensor, street: Street) -> tuple[Tensor, Tensor]:
    """Coverage of the road by white and by yellow paint."""
    clear = ((z - street.crossing).abs() > 9.5).float()  # no lines along the road within the crossing
    # Dashes of 3 m every 9 m.
    dash = _cover(1.5 - ((z / 9 - (z / 9).round()).abs() * 9), along)
    white, yellow = torch.zeros_like(x), torch.zeros_like(x)
    if street.median:
        yellow = (_band(x, -0.14, 0.06, foot) + _band(x, 0.14, 0.06, foot)) * clear
    else:
        white = _band(x, 0, 0.07, foot) * dash * clear
    for lane in range(1, street.lanes):
        white = white + (_band(x, lane * LANE, 0.06, foot) + _band(x, -lane * LANE, 0.06, foot)) * dash * clear
    edge = street.lanes * LANE + (0 if street.parking > 2 else -0.1)
    white = white + (_band(x, edge, 0.06, foot) + _band(x, -edge, 0.06, foot)) * clear
    on_road = (x.abs() < street.half_width).float()
    for start in (-8.0, 5.4):  # a pedestrian crossing, 2.6 m wide, before and behind the side street
        zebra = _cover(1.3 - (z - street.crossing - start - 1.3).abs(), along)
        stripe = _cover(0.25 - ((x - (x / 1.0).round()).abs()), foot)
        white = white + zebra * stripe * on_road
    # The stop line, in our direction alone.
    stop = _cover(0.2 - (z - street.crossing + 9.0).abs(), along) * ((x > 0) & (x < street.half_width))
    return (white + stop).clamp(0, 1), yellow.clamp(0, 1)
