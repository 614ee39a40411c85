"""The light of levels in the 3D styles, from their moods and hours: sun and sky, lamps, air, and the final grading."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gen.smd.art.moods import Mood
from gen.smd.scene import Vector
from gen.smd.shading import Lamps, Sunlight, linear
from gen.smd.world import VIEW_WIDTH, World

NOON, EVENING, DUSK = (0.96, 0.96, 0.95), (0.82, 0.75, 0.65), (0.60, 0.58, 0.64)
LAMPS = 5
"""Lamps of a level: a fixed number, so that levels can be rendered in one batch."""


def sunlight(worlds: Sequence[World], moods: Sequence[Mood]) -> Sunlight:
    """Each world's sun and sky; the sun stands before the lane, left or right of it."""
    towards, sun, sky, ground = [], [], [], []
    for world, mood in zip(worlds, moods, strict=True):
        side = 1 if np.random.default_rng([world.seed, 80]).random() < 0.5 else -1  # a seed's parity is the split
        direction = torch.tensor([0.5 * side, 0.8, -0.55 if world.scene != "underwater" else -0.1])
        towards.append(direction / direction.norm())
        sun.append(torch.tensor(linear(*mood.sun)) * mood.strength)
        blend = 0.5 * (torch.tensor(linear(*mood.zenith)) + torch.tensor(linear(*mood.horizon)))
        sky.append(mood.ambient * (0.55 * blend + 0.35 * float(blend.mean())))
        ground.append(mood.ambient * (0.4 * torch.tensor(linear(*mood.horizon)) + 0.05))
    return Sunlight(torch.stack(towards), torch.stack(sun), torch.stack(sky), torch.stack(ground))


def daylight(worlds: Sequence[World]) -> Tensor:
    """What the hour makes of all light (S, 3): full, golden, blue."""
    x = torch.tensor([[1.4 * w.hour] for w in worlds])
    noon, evening, dusk = (torch.tensor(c) for c in (NOON, EVENING, DUSK))
    return torch.where(x < 1, torch.lerp(noon, evening, x), torch.lerp(evening, dusk, x - 1))


def graded(picture: Tensor, worlds: Sequence[World]) -> Tensor:
    """The picture (S, 3, H, W) at its worlds' hours, with the steeper contrast of a game: deep shade, bright lights."""
    return 1.45 * (picture * daylight(worlds).to(picture)[:, :, None, None]).clamp(min=0) ** 1.3


def lamps(worlds: Sequence[World], moods: Sequence[Mood]) -> Lamps:
    """The hero's lantern, and the nearest torches and lamp posts, (S, LAMPS)."""
    rows: list[list[tuple[Vector, Vector]]] = []
    for world, mood in zip(worlds, moods, strict=True):
        strength, hero = mood.lamp, world.hero
        warm = linear(255, 190, 110)
        lights: list[tuple[Vector, Vector]] = [((hero.x + 0.5, hero.y + 1.0, -0.9), _times(warm, strength))]
        burning = [p for p in world.props if p.kind in ("torch", "lamppost", "crystal")]
        burning.sort(key=lambda p: abs(p.x - world.view.x - VIEW_WIDTH / 2))
        for p in burning[: LAMPS - 1]:
            colour = linear(110, 190, 255) if p.kind == "crystal" else warm
            height = {"torch": 0.9, "lamppost": 1.95, "crystal": 0.6}[p.kind]
            lights.append(((p.x, p.y + height * p.size, p.z - 0.7), _times(colour, 0.6 * strength)))
        lights += [((0.0, -99.0, 0.0), (0.0, 0.0, 0.0))] * (LAMPS - len(lights))
        rows.append(lights)
    position = torch.tensor([[p for p, _ in row] for row in rows])
    colour = torch.tensor([[c for _, c in row] for row in rows])
    down = torch.tensor([0.0, -1.0, 0.0]).expand_as(position)
    return Lamps(position, colour, down, torch.full(position.shape[:2], -2.0))


def _times(colour: Vector, factor: float) -> Vector:
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def air(moods: Sequence[Mood]) -> tuple[Tensor, Tensor, Tensor]:
    """Zenith (S, 3), horizon (S, 3) and fog (S, 1)."""
    zenith, horizon = (torch.tensor([linear(*getattr(m, name)) for m in moods]) for name in ("zenith", "horizon"))
    return zenith, horizon, torch.tensor([[m.fog] for m in moods])
