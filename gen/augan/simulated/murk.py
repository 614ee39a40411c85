"""Fog and rain made of clear days: the air between camera and scenery turns to light, drops lie on the windscreen.

Fog is Koschmieder's law, x' = t x + (1 - t) a on linear light, with t = exp(-density * distance) and a the light of the
air: Sakaridis et al., "Semantic Foggy Scene Understanding with Synthetic Data", IJCV 2018. They know each pixel's
distance; a dash-cam frame does not tell it, so it is guessed: that of a flat road below the horizon, one of a few
hundred metres for what stands above it, and no end for the sky.
"""

import numpy as np
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from gen.augan.degrade import compress, gaussian, sensor_noise
from gen.augan.simulated.scene import View, look, sky_share

CAMERA = 1.3
"""Metres: height of a dash-cam above the road; a height of the frame is about its focal length."""
FARTHEST = 2000.0
"""Metres: distance of the sky."""


def make_fog(day: Tensor, seed: int) -> Tensor:
    """Clear day frame (3, H, W) in [-1, 1] -> the same place in fog, a function of `seed`."""
    rng = np.random.default_rng((seed, 12))
    visibility = float(np.exp(rng.uniform(np.log(80), np.log(800))))  # metres, at which 5 % of the contrast is left
    light = veiled(day, visibility, rng)
    return photographed(light * rng.uniform(0.75, 1.05), rng)


def make_rain(day: Tensor, seed: int) -> Tensor:
    """Clear day frame (3, H, W) in [-1, 1] -> the same place in rain, a function of `seed`."""
    rng = np.random.default_rng((seed, 13))
    visibility = float(np.exp(rng.uniform(np.log(600), np.log(6000))))
    light = veiled(day, visibility, rng) * rng.uniform(0.25, 0.8)
    view = look(day.shape[-2], day.shape[-1])
    light = through_drops(light, view, rng) if rng.random() < 0.8 else light
    return photographed(light, rng)


def veiled(day: Tensor, visibility: float, rng: np.random.Generator) -> Tensor:
    """The frame behind air of this visibility in metres, under a closed sky: linear light (3, H, W)."""
    picture = (day + 1) / 2
    view = look(day.shape[-2], day.shape[-1])
    horizon = rng.uniform(0.4, 0.55)
    air = air_light(view, horizon, rng)
    passed = torch.exp(-3 * distance(view, horizon, sky_share(picture)[0], rng) / visibility)
    scene = without_colour(rgb_to_linear_rgb(picture), rng.uniform(0, 0.5))
    return passed * scene + (1 - passed) * air


def distance(view: View, horizon: float, sky: Tensor, rng: np.random.Generator) -> Tensor:
    """A guess at each pixel's distance in metres, (H, W)."""
    road = CAMERA / (view.y - horizon).clamp_min(1e-3)
    # What stands beside the road comes nearer towards the frame's sides.
    scenery = rng.uniform(80, 400) / (1 + (view.x / rng.uniform(0.3, 0.8)).square())
    near = gaussian(torch.minimum(road, scenery)[None], view.y.shape[0] / 40)[0]
    return near + (FARTHEST - near) * sky


def air_light(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Light of the fog, (3, H, W), linear: grey, with a slight tint, brighter or darker towards the top."""
    level = rng.uniform(0.35, 0.75)
    tint = torch.from_numpy(rng.normal(1, 0.03, 3)).float().view(3, 1, 1)
    return (level * tint * (1 + rng.uniform(-0.3, 0.4) * (horizon - view.y))).clamp(0, 1)


def without_colour(light: Tensor, share: float) -> Tensor:
    """Linear light with this share of its colour taken away, as under a closed sky."""
    return light + share * (light.mean(0, keepdim=True) - light)


def through_drops(light: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) seen through drops on the windscreen: within each, what lies around, out of focus."""
    blurred = gaussian(light, light.shape[-2] / 36)
    mask = torch.zeros_like(view.y)
    width = view.x.max().item()
    for _ in range(rng.poisson(25)):
        x, y, size = rng.uniform(-width, width), rng.uniform(0, 0.9), float(np.exp(rng.uniform(-5.5, -3.6)))
        mask = torch.maximum(mask, torch.sigmoid((size - view.squared_distance(x, y).sqrt()) * 4 / size))
    return light + rng.uniform(0.3, 0.9) * mask * (blurred * rng.uniform(0.8, 1.5) - light)


def photographed(light: Tensor, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) as a dash-cam keeps it, in [-1, 1]."""
    noisy = sensor_noise(light, float(np.exp(rng.uniform(-11, -8))), 1e-4, int(rng.integers(2**62))).clamp(0, 1)
    return compress(linear_rgb_to_rgb(noisy) * 2 - 1, int(rng.integers(50, 96)))
