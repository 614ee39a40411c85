"""Simulate night on clear-day frames: a dark sky, and a scene lit by lamps and headlights.

A real night frame has no true day, but a simulated one has; and unlike a rendered street, that day is a real image with
real skies, trees and walls. The steps follow Punnappurath et al., "Day-to-Night Image Synthesis for Training Nighttime
Neural ISPs" (CVPR 2022): invert the tone curve, remove sunlight, relight with coloured lamps, expose, add noise.
Departures: they work on raw files and do not treat the sky, and we also draw the lamps themselves. The random ranges
were chosen by eye and by grey-level statistics of dash-cam nights.
"""

import numpy as np
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from kornia.filters import guided_blur
from torch import Tensor

from gen.augan.degrade import broad_gaussian, compress, crush_blacks, log_uniform, sensor_noise, smooth
from gen.augan.simulated.lights import glare, mirrored, signs, street_lamps, traffic, windows
from gen.augan.simulated.scene import View, sky_share, view_of

GREY = 0.18
"""Linear reflectance of a grey card, used as the target mean when sunlight is evened out."""


def make_night(day: Tensor, seed: int) -> Tensor:
    """Day frame (3, H, W) in [-1, 1] -> the same scene at night, a function of `seed`."""
    rng = np.random.default_rng((seed, 11))  # a stream of its own for each weather
    picture = (day + 1) / 2
    sky = sky_share(picture)
    scene = without_sun(rgb_to_linear_rgb(picture), rng.uniform(0, 0.7))
    horizon = rng.uniform(0.42, 0.55)
    view = view_of(day.shape[-2], day.shape[-1])
    (from_lamps, lamps), (from_cars, cars), (from_signs, boards) = (
        street_lamps(view, rng),
        traffic(view, horizon, rng),
        signs(view, horizon, rng),
    )
    cast = town_light(view, horizon, rng) + head_lights(view, rng) + from_lamps + from_cars
    night = scene * (cast * shadows(picture, rng) + from_signs) * (1 - sky)
    luma = float(np.exp(rng.normal(np.log(22), 0.55))) / 255
    exposed = night * exposure(night, luma) + sky * sky_glow(view, horizon, rng) + rng.uniform(0, 0.003)
    exposed += (lamps + cars + boards) * rng.uniform(0.5, 1.5) + windows(view, horizon, rng)
    through_glass = glare(mirrored(exposed, view, horizon, rng), view, rng)
    return photographed(through_glass * white_balance(rng), rng)


def shadows(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Random factor (1, H, W) on the lamps' light, which is uneven and changes at object edges.

    It stands for shadows, which need an unknown geometry: smooth noise, aligned to image edges by a guided filter.
    """
    height, width = picture.shape[-2:]
    noise = torch.randn(1, height, width, generator=torch.Generator().manual_seed(int(rng.integers(2**62))))
    field = broad_gaussian(noise, height * rng.uniform(0.03, 0.1))
    field = guided_blur(picture[None], (field / field.std())[None], 2 * (height // 16) + 1, 0.002, separable=True)[0]
    return torch.exp(rng.uniform(0, 1.5) * field)


def without_sun(light: Tensor, strength: float) -> Tensor:
    """Even out sunlight and shadow: divide by (mean light nearby / GREY)^strength."""
    around = broad_gaussian(light.mean(0, keepdim=True), light.shape[-2] / 12) + 0.02
    return light * (around / GREY) ** -strength


def town_light(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Warm ambient light of a town, strongest at the horizon, (3, H, W)."""
    above, below = (horizon - view.y).clamp_min(0), (view.y - horizon).clamp_min(0)
    reach = torch.exp(-above / rng.uniform(0.06, 0.3) - below / rng.uniform(0.3, 1.5))
    warm = torch.tensor([1, 0.85, 0.65]) + torch.from_numpy(rng.normal(0, 0.05, 3)).float()
    return rng.uniform(0.02, 0.4) * reach * warm.view(3, 1, 1)


def head_lights(view: View, rng: np.random.Generator) -> Tensor:
    """Light of the car's own headlights on the road ahead, (3, H, W)."""
    across = (view.x - rng.normal(0, 0.12)) / rng.uniform(0.35, 0.9)
    along = (view.y - rng.uniform(0.62, 0.82)) / rng.uniform(0.1, 0.22)
    white = torch.tensor([1, rng.uniform(0.88, 1), rng.uniform(0.7, 1)])
    return rng.uniform(0.1, 2) * torch.exp(-(across**2 + along**2) / 2) * white.view(3, 1, 1)


def white_balance(rng: np.random.Generator) -> Tensor:
    """White-balance gains of red, green and blue, (3, 1, 1), with a large error in a quarter of the nights."""
    spread = 0.2 if rng.random() < 0.25 else 0.1
    gains = np.exp(rng.normal(0, spread, 3))
    return torch.from_numpy(gains / gains.mean()).float().view(3, 1, 1)


def sky_glow(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Light of the sky after exposure, (3, H, W): black to 50 grey levels, brown as over a town or evening blue."""
    level = float(np.exp(rng.normal(np.log(10), 0.8))) / 255
    blue = float(rng.choice([0, 1], p=[0.8, 0.2]))
    tint = torch.from_numpy(rng.normal([1.1 - 0.3 * blue, 1, 0.9 + 0.4 * blue], 0.1)).float().clamp_min(0)
    fades = torch.exp(-(horizon - view.y).clamp_min(0) / rng.uniform(0.2, 2))
    return rgb_to_linear_rgb((level * tint.view(3, 1, 1)).clamp(0, 1)) * fades


def exposure(light: Tensor, luma: float) -> float:
    """Factor that gives linear light (3, H, W) the mean sRGB value `luma` (0..1), by bisection."""
    sample, low, high = light[:, ::4, ::4], 1e-3, 1e3  # every fourth pixel is enough for a mean
    for _ in range(20):
        factor = (low * high) ** 0.5
        too_bright = linear_rgb_to_rgb((factor * sample).clamp(0, 1)).mean() > luma
        low, high = (low, factor) if too_bright else (factor, high)
    return (low * high) ** 0.5


def photographed(light: Tensor, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) as recorded by a dash-cam, in [-1, 1]: noise, smoothing, crushed blacks, JPEG."""
    shot, read = log_uniform(rng, 3e-5, 2e-3), log_uniform(rng, 1e-4, 1.5e-3)
    noisy = sensor_noise(light, shot, read, int(rng.integers(2**62))).clamp(0, 1)
    picture = smooth(linear_rgb_to_rgb(noisy), rng.uniform(0, 0.6), rng.uniform(0, 1.5))
    picture = crush_blacks(picture, rng.uniform(0, 25) / 255, rng.uniform(0, 8) / 255)
    return compress(picture * 2 - 1, int(rng.integers(50, 96)))
