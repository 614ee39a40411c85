"""Textures of the materials: one factor on the albedo for each pixel, around 1. Sizes are blocks, chosen by eye."""

import torch
from torch import Tensor

from gen.smd.art.models import (
    BRICK,
    CLOTH,
    CLOUD,
    GRASS,
    ICE,
    LAVA,
    LEAF,
    SAND,
    SCALES,
    SNOW,
    SOIL,
    STONE,
    WATER,
    WOOD,
)
from gen.smd.shading import PATTERN, SEED, Pixels, noise, on_face, scatter


def texture(pixels: Pixels, texels: float | None = None) -> Tensor:
    """Factors (n,) around 1. With `texels` (per block) coordinates snap to a grid that repeats after 32, as a small
    texture on old hardware does."""
    u, v = on_face(pixels)
    seed = pixels.row[SEED]
    if texels:
        u, v = (((c * texels).floor() % 32) / texels for c in (u, v))
    # Fades with the width of a pixel, but never below 0.15, so that distant ground is not flat.
    fade = (1.2 - pixels.footprint * 6).clamp(0.15, 1)
    result, pattern = torch.ones_like(u), pixels.row[PATTERN].long()
    for kind in pattern.unique().tolist():
        painter = PAINTERS.get(kind)
        if painter is not None:
            at = (pattern == kind).nonzero()[:, 0]
            result[at] = 1 + (painter(u[at], v[at], seed[at]) - 1) * fade[at]
    return result


def _grain(u: Tensor, v: Tensor, size: float) -> Tensor:
    """Noise in -1..1 with details of `size`."""
    return noise(u / size, v / size) * 2 - 1


def _soil(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    pebble = (_grain(u + seed + 3, v, 0.03) > 0.75) * 0.3
    return 1 + 0.32 * _grain(u + seed, v, 0.035) + 0.2 * _grain(u, v + seed, 0.12) + pebble


def _grass(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 1 + 0.3 * _grain(u + seed, v * 0.35, 0.02) + 0.3 * _grain(u, v + seed, 0.14)


def _stone(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    crack = ((noise(u * 5 + seed, v * 5 + 7) - 0.5).abs() < 0.02) * 0.4
    return 1 + 0.3 * _grain(u + seed, v, 0.06) + 0.15 * _grain(u, v, 0.015) - crack


def _brick(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    row = (v / 0.5).floor()
    a, b = u + 0.5 * (row % 2), v - row * 0.5
    column = a.floor()
    mortar = ((a - column) < 0.06) | (b < 0.06)
    tone = 0.82 + 0.36 * scatter(column, row, seed)
    return torch.where(mortar, 0.5, tone) + 0.12 * _grain(u + seed, v, 0.025)


def _sand(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    ripple = torch.sin(v * 16 + 5 * noise(u * 6 + seed, v * 6))
    return 0.92 + 0.12 * ripple + 0.12 * _grain(u, v + seed, 0.015) + 0.28 * _grain(u + seed, v, 0.18)


def _snow(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 0.9 + 0.08 * _grain(u + seed, v, 0.02) + 0.3 * _grain(u, v + seed, 0.15)


def _wood(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    board = ((v * 3).frac().abs() < 0.08) * 0.35
    return 1 + 0.3 * _grain(u * 0.25 + seed, v * 2.4, 0.05) - board


def _leaf(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 0.95 + 0.55 * _grain(u + seed, v, 0.035)


def _ice(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 1 + 0.25 * (_grain(u * 0.7 + v + seed, v * 0.3 - u, 0.05)).clamp(min=0) + 0.1 * _grain(u, v, 0.12)


def _cloth(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 1 + 0.12 * _grain(u + seed, v, 0.012) + 0.08 * torch.sin(u * 9)


def _scales(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 1 + 0.2 * torch.sin(u * 22 + seed) * torch.sin(v * 22) + 0.15 * _grain(u, v, 0.05)


def _water(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    wave = (noise(u * 4 + seed, v * 9) - 0.5).abs()
    return 0.8 + 0.9 * (0.14 - wave).clamp(min=0) * 7


def _lava(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return (0.35 + 1.3 * noise(u * 6 + seed, v * 6)).clamp(0.2, 1.6)


def _cloud(u: Tensor, v: Tensor, seed: Tensor) -> Tensor:
    return 1 + 0.06 * _grain(u + seed, v, 0.06)


PAINTERS = {
    SOIL: _soil, GRASS: _grass, STONE: _stone, BRICK: _brick, SAND: _sand, SNOW: _snow, WOOD: _wood, LEAF: _leaf,
    ICE: _ice, CLOTH: _cloth, SCALES: _scales, WATER: _water, LAVA: _lava, CLOUD: _cloud,
}  # fmt: skip
