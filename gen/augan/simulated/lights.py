"""Lights at night as seen through a windscreen: lamps, windows and signs, glare, and reflections.

All light is linear; 1 saturates the sensor, and lamps are brighter than 1. The random ranges are not physical
measurements; they were chosen by eye to look like dash-cam nights.
"""

import numpy as np
import torch
from kornia.filters import gaussian_blur2d
from torch import Tensor

from gen.augan.degrade import broad_gaussian, gaussian, log_uniform
from gen.augan.simulated.scene import View

STREET_LAMPS = ((1, 0.55, 0.2), (1, 0.6, 0.25), (1, 0.8, 0.5), (0.95, 0.97, 1), (0.8, 0.9, 1))
"""RGB colours from sodium lamps to cold white."""
HEAD_LAMP, REAR_LAMP = (1, 0.95, 0.85), (1, 0.08, 0.05)
SIGNALS = ((1, 0.1, 0.05), (0.1, 1, 0.6), (0.1, 1, 0.7), (1, 0.6, 0.15), (1, 0.95, 0.85))
"""RGB colours of traffic lights and other small lights."""


def colour(choices: tuple[tuple[float, ...], ...], rng: np.random.Generator) -> Tensor:
    """A random one of the colours, (3, 1, 1)."""
    return torch.tensor(choices[rng.integers(len(choices))]).view(3, 1, 1)


def lamp(
    view: View, x: float, y: float, size: float, brightness: float, glow: float, rng: np.random.Generator
) -> Tensor:
    """A round lamp at (x, y) with a halo by air and lens, (H, W)."""
    squared = view.squared_distance(x, y)
    halo = 1 / (1 + squared / rng.uniform(0.004, 0.03) ** 2)
    return brightness * torch.exp(-squared / (2 * size**2)) + glow * halo


def street_lamps(view: View, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Street lamps: the light they cast on the scene, and the lamps themselves, both (3, H, W)."""
    cast, lamps = torch.zeros(2, 3, *view.y.shape)
    for _ in range(rng.poisson(3.5)):
        x, y, tint = rng.uniform(-0.9, 0.9), rng.uniform(0.02, 0.45), colour(STREET_LAMPS, rng)
        pool = torch.exp(-(((view.x - x) / 0.35) ** 2 + ((view.y - y - 0.25) / 0.25) ** 2) / 2)
        cast += rng.uniform(0.1, 2) * pool * tint
        glow = log_uniform(rng, 0.02, 0.5)
        lamps += lamp(view, x, y, rng.uniform(0.003, 0.014), rng.uniform(1, 6), glow, rng) * tint
    return cast, lamps


def traffic(view: View, horizon: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Like `street_lamps`, for car lights, which come in pairs, and traffic lights."""
    cast, lamps = torch.zeros(2, 3, *view.y.shape)
    for _ in range(rng.poisson(np.exp(rng.normal(np.log(4), 0.7)))):
        tint = torch.tensor(HEAD_LAMP if rng.random() < 0.4 else REAR_LAMP).view(3, 1, 1)
        near = log_uniform(rng, 0.004, 0.08)  # half the width of the car, in frame heights
        x, y = rng.normal(0, 0.3), horizon + near * rng.uniform(0.2, 0.9)
        size, brightness, glow = near * rng.uniform(0.04, 0.1) + 0.001, rng.uniform(0.3, 4), rng.uniform(0, 0.15)
        for side in (-near, near):
            lamps += lamp(view, x + side, y, size, brightness, glow, rng) * tint
        pool = torch.exp(-(((view.x - x) / (2 * near)) ** 2 + ((view.y - y - near) / (2 * near)) ** 2) / 2)
        cast += rng.uniform(0, 1) * pool * tint
    for _ in range(rng.poisson(np.exp(rng.normal(np.log(6), 0.7)))):
        x, y, tint = rng.normal(0, 0.35), rng.normal(horizon - 0.02, 0.06), colour(SIGNALS, rng)
        size, brightness, glow = rng.uniform(0.0015, 0.005), rng.uniform(0.2, 3), rng.uniform(0, 0.1)
        lamps += lamp(view, x, y, size, brightness, glow, rng) * tint
    return cast, lamps


def windows(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Grids of windows above the horizon, some of them lit, (3, H, W); none in half of the nights."""
    lit = torch.zeros(3, *view.y.shape)
    for _ in range(rng.poisson(0.7)):
        rows, columns = rng.integers(1, 6), rng.integers(1, 8)
        across, down = rng.uniform(0.008, 0.05), rng.uniform(0.008, 0.04)  # distance between windows
        filled, share = rng.uniform(0.4, 0.8), rng.uniform(0.2, 1)
        left, top = rng.uniform(view.x.min().item(), view.x.max().item()), rng.uniform(0, horizon)
        tint = colour(STREET_LAMPS, rng) * log_uniform(rng, 0.05, 1.5)
        for row, column in np.argwhere(rng.random((rows, columns)) < share):
            inside = rectangle(view, left + column * across, top + row * down, filled * across, filled * down)
            lit = torch.where(inside, tint * rng.uniform(0.5, 1), lit)
    return gaussian(lit, view.y.shape[0] / 500)


def signs(view: View, horizon: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Shop fronts, which brighten the scene itself, and plain illuminated boards; both (3, H, W)."""
    cast, lamps = torch.zeros(2, 3, *view.y.shape)
    for _ in range(rng.poisson(0.8)):
        wide, high = rng.uniform(0.03, 0.3), rng.uniform(0.02, 0.14)
        left = rng.uniform(view.x.min().item(), view.x.max().item())
        inside = rectangle(view, left, horizon - rng.uniform(-0.02, 0.3) - high, wide, high).float()
        tint = colour(STREET_LAMPS, rng)
        if rng.random() < 0.7:
            cast += rng.uniform(1, 8) * inside * tint
        else:
            lamps += rng.uniform(0.2, 1.5) * inside * tint
    return cast, gaussian(lamps, view.y.shape[0] / 500)


def rectangle(view: View, left: float, top: float, wide: float, high: float) -> Tensor:
    """Mask (H, W) of a rectangle."""
    return (view.x >= left) & (view.x < left + wide) & (view.y >= top) & (view.y < top + high)


def glare(light: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """Add glare of lens and windscreen to light (3, H, W): a wide veil, and streaks through saturated pixels."""
    height = light.shape[-2]
    veil = broad_gaussian(light, height * rng.uniform(0.05, 0.25))
    light = light + rng.uniform(0, 0.15) * veil
    for _ in range(rng.choice([0, 1, 2, 3], p=[0.4, 0.3, 0.2, 0.1])):
        strength, length = log_uniform(rng, 0.03, 0.5), rng.uniform(0.02, 0.25)
        light = light + strength * smeared((light - 1).clamp(0, 4), rng.uniform(0, np.pi), length)
    return light


def smeared(light: Tensor, angle: float, length: float) -> Tensor:
    """Smear light (3, H, W) along a line in both directions; it falls to 1/e within `length` frame heights."""
    height = light.shape[-2]
    steps = max(2, int(2 * length * height))
    along = np.arange(-steps, steps + 1)
    total = torch.zeros_like(light)
    for step, weight in zip(along, np.exp(-abs(along) / (length * height)), strict=True):
        down, right = round(step * np.sin(angle)), round(step * np.cos(angle))
        total += float(weight) * shifted(light, down, right)
    return total / (2 * length * height)


def shifted(light: Tensor, down: int, right: int) -> Tensor:
    """Shift light (3, H, W) by whole pixels, filled with black."""
    height, width = light.shape[-2:]
    moved = torch.zeros_like(light)
    if abs(down) < height and abs(right) < width:
        moved[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = light[
            :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
    return moved


def mirrored(light: Tensor, view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Add reflections to light (3, H, W): on a wet road with probability 1/4, on the bonnet with probability 1/2."""
    height = light.shape[-2]
    rows = torch.arange(height)
    if rng.random() < 0.25:
        image = light[:, (2 * int(horizon * height) - rows).clamp(0, height - 1)]
        strength, sigma = rng.uniform(0.05, 0.4), height * rng.uniform(0.01, 0.05)
        blurred = gaussian_blur2d(image[None].clamp_max(4), (2 * int(3 * sigma) + 1, 1), (sigma, 1), "replicate")[0]
        light = light + strength * (view.y > horizon) * blurred
    if rng.random() < 0.5:
        edge, squeeze = rng.uniform(0.8, 0.95), rng.uniform(2, 6)
        source = (edge * height - (rows - edge * height) * squeeze).long().clamp(0, height - 1)
        bonnet = torch.sigmoid((view.y - edge - rng.uniform(0, 0.1) * view.x.square()) * height / 2)
        shine, dark = rng.uniform(0.05, 0.6), rng.uniform(0, 0.9)
        light = light * (1 - bonnet * dark) + bonnet * shine * light[:, source]
    return light
