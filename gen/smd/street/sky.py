"""Sky, sun and fog of a street in any weather."""

import math

import torch
from torch import Tensor

from gen.smd.scene import Vector
from gen.smd.shading import Sunlight, noise
from gen.smd.street.street import Street
from gen.smd.street.weather import SUNNY, Weather
from gen.tensors import constant, on_device


def sunlight(weather: Weather, street: Street, device: torch.device) -> Sunlight:
    """Sun and sky light of a weather, for one scene; the sun stands at a different azimuth over each street."""
    azimuth = (street.seed * 2.399963) % (2 * math.pi)  # the golden angle: consecutive seeds are far apart
    up = math.radians(weather.elevation)
    towards = [math.cos(up) * math.sin(azimuth), math.sin(up), math.cos(up) * math.cos(azimuth)]
    return Sunlight(*(on_device([v], device) for v in (towards, weather.sun, weather.sky, weather.ground)))


def sky(direction: Tensor, weather: Weather, light: Sunlight) -> Tensor:
    """Light (3, ...) from the sky in `direction` (3, ...): a gradient, clouds on a level layer, the sun."""
    x, up, z = direction
    zenith, horizon = _tensor(weather.zenith, direction), _tensor(weather.horizon, direction)
    colour = torch.lerp(zenith, horizon, (1 - up.clamp(0, 1)) ** 4)  # bright only near the horizon, where air is thick
    if weather.clouds:
        layer = 14 / up.clamp(min=0.03)  # where the ray meets the layer; at the horizon that would be infinitely far
        east, _, north = 40 * light.towards[0]  # different clouds over each street
        u, v = x * layer + east, z * layer + north
        cover = 0.7 * noise(u, v) + 0.3 * noise(3 * u, 3 * v + 40)
        # Noise is spread evenly over 0..1, so the threshold is about the share of clear sky.
        amount = ((cover - (1 - 0.75 * weather.clouds)) * 2.2).clamp(0, 1) * (up / 0.12).clamp(0, 1)
        bright = 1.25 * horizon + 0.25 * _tensor(weather.sun, direction)
        colour = torch.lerp(colour, bright * (1.05 - 0.45 * cover), 0.85 * amount)
    if sum(weather.sun) > SUNNY:
        towards = torch.tensordot(light.towards[0], direction, 1).clamp(min=0)
        # A halo, and a disc of 1.8 degrees radius: larger than the true 0.27, as an overexposed sun looks.
        disc = 0.18 * towards**40 + 12 * (towards > 0.9995)
        colour = colour + disc * _tensor(weather.sun, direction)
    return colour


def through_air(colour: Tensor, distance: Tensor, weather: Weather) -> Tensor:
    """Fog by depth: c exp(-fog d) + horizon (1 - exp(-fog d)), Beer-Lambert's law with air as bright as the horizon."""
    clear = torch.exp(-weather.fog * distance)
    return colour * clear + _tensor(weather.horizon, colour) * (1 - clear)


def _tensor(colour: Vector, like: Tensor) -> Tensor:
    """A colour as (3, 1, ...), to be broadcast over `like` (3, ...)."""
    return constant(colour, like).view(3, *[1] * (like.ndim - 1))
