"""Simulate fog and rain on clear-day frames: airlight between camera and scene, and drops on the windscreen.

Fog follows Koschmieder's law, x' = t x + (1 - t) a on linear light, where t = exp(-density * distance) and a is the
airlight: Sakaridis et al., "Semantic Foggy Scene Understanding with Synthetic Data", IJCV 2018. They use measured
distances; here the distance is estimated from one frame: a flat road between two walls, refined along image edges,
farther where the frame is hazy, and infinite for the sky.
"""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from kornia.filters import guided_blur
from torch import Tensor

from gen.augan.degrade import broad_gaussian, compress, gaussian, log_uniform, sensor_noise
from gen.augan.simulated.lights import mirrored, traffic
from gen.augan.simulated.scene import View, sky_share, view_of

CAMERA = 1.3
"""Height of a dash-cam above the road in metres. Its focal length is taken as the frame's height, so that the distance
of the road at y below the horizon is CAMERA / y."""
WALLS = (5.0, 80.0)
"""Range of the sideways distance of trees, houses and slopes, in metres."""


class Air(NamedTuple):
    """Optical properties of the air."""

    visibility: float
    """Distance in metres at which 5 % of the contrast is left (exp(-3) = 5 %)."""
    level: float
    """Airlight, linear, 0 to 1."""
    grey: float
    """Share of the scene's colour lost under an overcast sky."""


def make_fog(day: Tensor, seed: int) -> Tensor:
    """Clear day frame (3, H, W) in [-1, 1] -> the same scene in fog, a function of `seed`."""
    rng = np.random.default_rng((seed, 12))  # a stream of its own for each weather
    view, horizon = view_of(day.shape[-2], day.shape[-1]), rng.uniform(0.4, 0.55)
    air = Air(log_uniform(rng, 40, 800), rng.uniform(0.4, 1), rng.uniform(0, 0.1))
    light = veiled(day, view, horizon, air, rng) + lamps_in_murk(view, horizon, rng)
    return photographed(light * rng.uniform(0.8, 1.1), rng)


def make_rain(day: Tensor, seed: int) -> Tensor:
    """Clear day frame (3, H, W) in [-1, 1] -> the same scene in rain, a function of `seed`."""
    rng = np.random.default_rng((seed, 13))  # a stream of its own for each weather
    view, horizon = view_of(day.shape[-2], day.shape[-1]), rng.uniform(0.4, 0.55)
    air = Air(log_uniform(rng, 1500, 40000), rng.uniform(0.15, 0.5), rng.uniform(0, 0.1))
    light = veiled(day, view, horizon, air, rng) * rng.uniform(0.5, 1.15)
    light = light + mirrored(lamps_in_murk(view, horizon, rng), view, horizon, rng)
    light = through_drops(light, view, rng) if rng.random() < 0.8 else light
    light = behind_wiper(light, view, rng) if rng.random() < 0.1 else light
    light = gaussian(
        light, light.shape[-2] / 216 * rng.uniform(0, 0.9)
    )  # the film of water on the windscreen; 216: see `photographed`
    return photographed(light, rng)


def veiled(day: Tensor, view: View, horizon: float, air: Air, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) of the frame seen through this air."""
    picture = (day + 1) / 2
    light = air_light(view, horizon, air.level, rng)
    sky = sky_share(picture)[0]
    metres = along_edges(corridor(view, horizon, rng) * hazy(picture, view, horizon, rng), picture)
    passed = (1 - sky).clamp_min(0) * torch.exp(-3 * metres / air.visibility)
    return passed * without_colour(rgb_to_linear_rgb(picture), air.grey) + (1 - passed) * light


def corridor(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Distance in metres (H, W) of the surfaces of a flat road between two walls."""
    road = CAMERA / (view.y - horizon).clamp_min(1e-4)
    across = view.x - rng.normal(0, 0.12)
    left, right = log_uniform(rng, *WALLS), log_uniform(rng, *WALLS)
    walls = torch.where(across < 0, left, right) / across.abs().clamp_min(1e-4)
    return torch.minimum(road, walls).clamp_max(log_uniform(rng, 200, 1500))


def hazy(picture: Tensor, view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Factor >= 1 (H, W) on the distance above the horizon: areas without dark pixels are farther than the walls.

    By the dark channel of He et al., "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009: even clear air
    brightens distant hills, while nearby trees and cars have shadows.
    """
    darkest = -F.max_pool2d(-picture.amin(0, keepdim=True), 5, 1, 2)[0]
    return 1 + rng.uniform(0, 12) * darkest * torch.sigmoid((horizon - view.y) / 0.02)


def along_edges(metres: Tensor, picture: Tensor) -> Tensor:
    """Align the distances (H, W) to the edges of the image by a guided filter of their logarithm."""
    height = metres.shape[0]
    smooth = gaussian(metres.log()[None], height / 60)
    return guided_blur(picture[None], smooth[None], 2 * (height // 16) + 1, 0.002, separable=True)[0, 0].exp()


def lamps_in_murk(view: View, horizon: float, rng: np.random.Generator) -> Tensor:
    """Car lights with halos, (3, H, W), linear; none in half of the frames."""
    if rng.random() < 0.5:
        return torch.zeros(3, *view.y.shape)
    lamps = traffic(view, horizon, rng)[1] * rng.uniform(0.1, 0.8)
    return lamps + rng.uniform(0, 0.5) * broad_gaussian(lamps, view.y.shape[0] * rng.uniform(0.02, 0.1))


def air_light(view: View, horizon: float, level: float, rng: np.random.Generator) -> Tensor:
    """Airlight (3, H, W), linear: slightly tinted grey with a vertical gradient."""
    tint = torch.from_numpy(rng.normal(1, 0.03, 3)).float().view(3, 1, 1)
    return (level * tint * (1 + rng.uniform(-0.3, 0.4) * (horizon - view.y))).clamp(0, 1)


def without_colour(light: Tensor, share: float) -> Tensor:
    """Reduce the saturation of linear light by `share`, as under an overcast sky."""
    return light + share * (light.mean(0, keepdim=True) - light)


def through_drops(light: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) seen through drops on the windscreen.

    Each drop shows its blurred surroundings with a vertical gradient of brightness; some are elongated by wind.
    """
    blurred = gaussian(light, light.shape[-2] / 36)
    width = view.x.max().item()
    clear, most = rng.uniform(0.1, 0.9), log_uniform(rng, 0.005, 0.02)
    for _ in range(round(log_uniform(rng, 10, 200))):
        x, y, size, angle = (
            rng.uniform(-width, width),
            rng.uniform(0, 1),
            rng.uniform(0.002, most),
            rng.uniform(0, np.pi),
        )
        stretch = rng.uniform(1, 2.5)
        along = ((view.x - x) * np.cos(angle) + (view.y - y) * np.sin(angle)) / (size * stretch)
        across = ((view.y - y) * np.cos(angle) - (view.x - x) * np.sin(angle)) / size
        inside = torch.sigmoid((1 - (along.square() + across.square()).sqrt()) * 4)
        shade = (rng.uniform(0.7, 1.4) * (1 + rng.uniform(0, 0.6) * (view.y - y) / size)).clamp(0.3, 2)
        light = light + (1 - clear) * inside * (blurred * shade - light)
    return light


def behind_wiper(light: Tensor, view: View, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) behind a wiper: a blurred dark bar through a point below the lower edge."""
    angle, thick = rng.uniform(0.2, np.pi - 0.2), rng.uniform(0.01, 0.05)
    away = (view.x - rng.uniform(-0.5, 0.5)) * np.sin(angle) + (view.y - 1.1) * np.cos(angle)
    return light * (1 - rng.uniform(0.4, 1) * torch.sigmoid((thick - away.abs()) * 4 / thick))


def photographed(light: Tensor, rng: np.random.Generator) -> Tensor:
    """Linear light (3, H, W) as recorded by a dash-cam, in [-1, 1]: noise, blur, JPEG.

    Cameras raise their gain in fog and rain. A translator trained without this noise would amplify it together with the
    contrast. At 216 rows, the deviation in flat areas matches real fog (median 0.7 grey levels) and nearly real rain
    (1.0).
    """
    noisy = sensor_noise(light, log_uniform(rng, 1e-4, 2e-3), 1e-3, int(rng.integers(2**62))).clamp(0, 1)
    grain = gaussian(linear_rgb_to_rgb(noisy), rng.uniform(0, 0.7))
    return compress(grain * 2 - 1, int(rng.integers(60, 97)))
