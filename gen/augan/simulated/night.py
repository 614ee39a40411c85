"""Nights made of real days: the sky goes dark, and lamps and headlights leave of a frame what they reach.

A real night has no true day. A night that was made from a day has one, and, unlike a rendered street's, it is a real
day: what a translator has to learn of skies, trees and walls is in it. The steps are those of Punnappurath et al.,
"Day-to-Night Image Synthesis for Training Nighttime Neural ISPs" (CVPR 2022): undo the tone curve, take the sun away,
relight with lamps of their own colours, expose, add noise; they work on raw files and know no sky, and we draw the
lamps themselves too. Nothing here is measured from a lamp; the ranges were chosen by eye beside dash-cam nights.
"""

import numpy as np
import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from torch import Tensor

from gen.augan.degrade import compress, crush_blacks, gaussian, sensor_noise, smooth
from gen.augan.simulated.scene import View, look, sky_share

STREET_LAMPS = ((1, 0.6, 0.25), (1, 0.8, 0.5), (0.95, 0.97, 1), (0.8, 0.9, 1))
"""Sodium, warm white, white, cold white: linear RGB."""
SMALL_LIGHTS = ((1, 0.1, 0.05), (1, 0.15, 0.1), (1, 0.95, 0.85), (1, 0.95, 0.85), (0.1, 1, 0.6), (1, 0.6, 0.15))
"""Rear lights, head lights, traffic lights."""
GREY = 0.18
"""Linear light of a grey card: the mean that uneven sunlight is levelled to."""


def make_night(day: Tensor, seed: int) -> Tensor:
    """Day frame (3, H, W) in [-1, 1] -> the same place at night, a function of `seed`."""
    rng = np.random.default_rng((seed, 11))
    picture = (day + 1) / 2
    sky = sky_share(picture)
    scene = without_sun(rgb_to_linear_rgb(picture), rng.uniform(0, 0.7))
    horizon = rng.uniform(0.42, 0.55)
    view = look(day.shape[-2], day.shape[-1])
    light, lamps = light_up(view, horizon, rng)
    night = scene * light * (1 - sky)
    luma = float(np.exp(rng.normal(np.log(24), 0.5))) / 255
    exposed = night * exposure(night, luma) + sky * sky_glow(view, horizon, rng) + rng.uniform(0, 0.003)
    exposed += lamps * rng.uniform(0.5, 1) + lit_windows(view, horizon, rng)
    return photographed(exposed * white_balance(rng), rng)


def without_sun(light: Tensor, strength: float) -> Tensor:
    """Level sunlight and shadow: divide by (the light around / grey)^strength."""
    around = gaussian(light.mean(0, keepdim=True), light.shape[-2] / 12) + 0.02
    return light * (around / GREY) ** -strength


def light_up(view: View, horizon: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """What falls on the scene, and what the lamps themselves look like, both (3, H, W), linear."""
    light = town_light(view, horizon, rng) + head_lights(view, rng)
    lamps = torch.zeros_like(light)
    for _ in range(rng.poisson(3.5)):
        x, y, colour = rng.uniform(-0.9, 0.9), rng.uniform(0.05, 0.45), _colour(STREET_LAMPS, rng)
        pool = torch.exp(-(((view.x - x) / 0.35) ** 2 + ((view.y - y - 0.25) / 0.25) ** 2) / 2)
        light += rng.uniform(0.1, 2) * pool * colour
        lamps += lamp(view, x, y, rng.uniform(0.004, 0.016), rng.uniform(1, 4), rng.uniform(0.02, 0.3), rng) * colour
    for _ in range(rng.poisson(np.exp(rng.normal(np.log(12), 0.7)))):
        x, y, colour = rng.normal(0, 0.35), rng.normal(horizon, 0.05), _colour(SMALL_LIGHTS, rng)
        size, brightness, glow = rng.uniform(0.0015, 0.007), rng.uniform(0.2, 2.5), rng.uniform(0, 0.12)
        lamps += lamp(view, x, y, size, brightness, glow, rng) * colour
    return light, lamps


def town_light(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Warm light from all sides, strongest at the horizon, (3, H, W)."""
    above, below = (horizon - view.y).clamp_min(0), (view.y - horizon).clamp_min(0)
    reach = torch.exp(-above / rng.uniform(0.06, 0.3) - below / rng.uniform(0.3, 1.5))
    warm = torch.tensor([1, 0.85, 0.65]) + torch.from_numpy(rng.normal(0, 0.05, 3)).float()
    return rng.uniform(0.02, 0.4) * reach * warm.view(3, 1, 1)


def head_lights(view: View, rng: np.random.Generator) -> Tensor:
    """The car's own, on the road ahead, (3, H, W)."""
    across = (view.x - rng.normal(0, 0.12)) / rng.uniform(0.35, 0.9)
    along = (view.y - rng.uniform(0.62, 0.82)) / rng.uniform(0.1, 0.22)
    white = torch.tensor([1, rng.uniform(0.88, 1), rng.uniform(0.7, 1)])
    return rng.uniform(0.1, 2) * torch.exp(-(across**2 + along**2) / 2) * white.view(3, 1, 1)


def lit_windows(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Blocks of windows and signs above the horizon, some of them lit, (3, H, W), linear: in half of the nights."""
    height, width = view.y.shape
    lit = torch.zeros(3, height, width)
    for _ in range(rng.poisson(0.7)):
        rows, columns = rng.integers(1, 6), rng.integers(1, 8)
        across, down = rng.uniform(0.008, 0.05), rng.uniform(0.008, 0.04)  # from one window to the next
        filled, share = rng.uniform(0.4, 0.8), rng.uniform(0.2, 1)
        left, top = rng.uniform(view.x.min().item(), view.x.max().item()), rng.uniform(0, horizon)
        colour = _colour(STREET_LAMPS, rng) * float(np.exp(rng.uniform(np.log(0.05), np.log(1.5))))
        for row, column in np.argwhere(rng.random((rows, columns)) < share):
            x, y = left + column * across, top + row * down
            inside = (view.x >= x) & (view.x < x + filled * across) & (view.y >= y) & (view.y < y + filled * down)
            lit = torch.where(inside, colour * rng.uniform(0.5, 1), lit)
    return gaussian(lit, height / 500)


def white_balance(rng: np.random.Generator) -> Tensor:
    """Gains of red, green and blue, (3, 1, 1): a camera's guess at the light's colour, far off in one night of four."""
    spread = 0.2 if rng.random() < 0.25 else 0.1
    gains = np.exp(rng.normal(0, spread, 3))
    return torch.from_numpy(gains / gains.mean()).float().view(3, 1, 1)


def lamp(
    view: View, x: float, y: float, size: float, brightness: float, glow: float, rng: np.random.Generator
) -> Tensor:
    """A round lamp and the glow of air and lens around it, (H, W)."""
    squared = view.squared_distance(x, y)
    halo = torch.exp(-squared.sqrt() / rng.uniform(0.01, 0.06))
    return brightness * torch.exp(-squared / (2 * size**2)) + glow * halo


def sky_glow(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """The sky's own light as exposed, (3, H, W): black to 50 grey levels, a town's brown or the evening's blue."""
    level = float(np.exp(rng.normal(np.log(10), 0.8))) / 255
    blue = float(rng.choice([0, 1], p=[0.8, 0.2]))
    tint = torch.from_numpy(rng.normal([1.1 - 0.3 * blue, 1, 0.9 + 0.4 * blue], 0.1)).float().clamp_min(0)
    fades = torch.exp(-(horizon - view.y).clamp_min(0) / rng.uniform(0.2, 2))
    return rgb_to_linear_rgb((level * tint.view(3, 1, 1)).clamp(0, 1)) * fades


def exposure(light: Tensor, luma: float) -> float:
    """The factor under which linear light (3, H, W) has the mean sRGB value `luma`, 0..1, by bisection."""
    sample, low, high = light[:, ::4, ::4], 1e-3, 1e3
    for _ in range(20):
        factor = (low * high) ** 0.5
        too_bright = linear_rgb_to_rgb((factor * sample).clamp(0, 1)).mean() > luma
        low, high = (low, factor) if too_bright else (factor, high)
    return (low * high) ** 0.5


def photographed(light: Tensor, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) as a dash-cam keeps it, in [-1, 1]: noise, smoothing, crushed blacks, JPEG."""
    shot, read = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in ((3e-5, 2e-3), (1e-4, 1.5e-3)))
    noisy = sensor_noise(light, shot, read, int(rng.integers(2**62))).clamp(0, 1)
    picture = smooth(linear_rgb_to_rgb(noisy), rng.uniform(0, 0.6), rng.uniform(0, 1.5))
    picture = crush_blacks(picture, rng.uniform(0, 25) / 255, rng.uniform(0, 8) / 255)
    return compress(picture * 2 - 1, int(rng.integers(50, 96)))


def _colour(colours: tuple[tuple[float, ...], ...], rng: np.random.Generator) -> Tensor:
    return torch.tensor(colours[rng.integers(len(colours))]).view(3, 1, 1)
