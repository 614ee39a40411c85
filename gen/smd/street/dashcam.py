"""The dash-cam: exposure, glare, rain and snow in the air, drops on the windscreen, vignette, noise, tone curve."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.smd.shading import bloom, blur, tone
from gen.smd.street.street import Street
from gen.smd.street.weather import Weather
from gen.tensors import on_device

DROPS = 60
"""On a windscreen at `Weather.drops` 1."""


def photograph(picture: Tensor, street: Street, time: float, weather: Weather, rng: torch.Generator) -> Tensor:
    """Linear light (1, 3, H, W) -> the camera's picture, uint8. The order is that of the light's way to the file."""
    height, width = picture.shape[-2:]
    # Exposure first: glare and noise depend on how much light reaches the lens at the camera's setting.
    picture = picture * weather.exposure
    picture = bloom(picture, weather.glare, height / 150)
    if weather.rain or weather.flakes:
        picture = _falling(picture, weather, rng)
    if weather.drops:
        picture = _drops(picture, street, time, weather)
    y, x = _coordinates(height, width, picture.device)
    picture = picture * (1 - weather.vignette * (x * x + y * y) / 2)
    # Shot noise, whose variance grows with the light, and read noise, which is there in the dark too (0.02).
    # Drawn on the CPU whatever the device, so that a seed gives the same noise on both.
    draws = on_device(torch.randn(picture.shape, generator=rng), picture.device)
    picture = picture + weather.grain * (picture.clamp(0, 1) * 0.5 + 0.02).sqrt() * draws
    return tone(picture)


def _coordinates(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """y and x (H, W), from -1 to 1; computed on the CPU, so that they are the same on all devices."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return on_device(y, device), on_device(x, device)


def _falling(picture: Tensor, weather: Weather, rng: torch.Generator) -> Tensor:
    """Add streaks of rain or flakes of snow, as bright as the light around them."""
    height, width = picture.shape[-2:]
    # What a drop lights up with is the light of its surroundings; clamped, so that one lamp does not light them all.
    around = blur(picture.clamp(max=3), height / 20).mean(1, keepdim=True)
    total = torch.zeros_like(around)
    for size, count in ((1.0, 0.0025), (2.0, 0.0008)):  # many far and small ones, few near and large ones
        amount = weather.rain + weather.flakes
        # Tuned at 360 rows; the factor keeps their share of the picture when streaks grow with it.
        seeds = (torch.rand((1, 1, height, width), generator=rng) < count * amount * (360 / height)).float()
        seeds = on_device(seeds, picture.device)
        total += _streaks(seeds, size) if weather.rain else blur(seeds, 0.7 * size * height / 360) * (9 * size)
    white = 0.35 if weather.flakes else 0.12  # flakes are opaque; a streak of rain is thin
    return picture + total.clamp(0, 1) * (around * (0.9 if weather.flakes else 0.45) + white * around.mean())


def _streaks(seeds: Tensor, size: float) -> Tensor:
    """Slanting lines, 1/22 of the picture's height times `size` long, through the pixels that are 1."""
    length = max(3, int(seeds.shape[-2] / 22 * size)) | 1  # odd, so that the line is centred
    kernel = torch.zeros(1, 1, length, 5)
    for row in range(length):
        kernel[0, 0, row, 1 + int(2.5 * row / length)] = 0.55
    return F.conv2d(F.pad(seeds, (2, 2, length // 2, length // 2)), on_device(kernel, seeds.device))


def _drops(picture: Tensor, street: Street, time: float, weather: Weather) -> Tensor:
    """Drops on the windscreen: small lenses that show the scene behind them upside down and blurred."""
    height, width = picture.shape[-2:]
    grid, covered, shade = _drop_field(street.seed, int(DROPS * weather.drops), time, height, width, picture.device)
    soft = blur(picture.clamp(max=4), height / 120)  # a drop is out of the camera's focus
    behind = F.grid_sample(soft, grid[None], align_corners=True, padding_mode="border")
    return picture * (1 - covered) + behind * shade * covered


def _drop_field(
    seed: int, count: int, time: float, height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Where `count` drops look (H, W, 2), how much of a pixel they cover (H, W), and their shading (H, W)."""
    rng = torch.Generator().manual_seed(seed)  # of the street, not of the moment: drops stay where they are in a clip
    centre = torch.rand((count, 2), generator=rng) * 2 - 1
    radius = 0.010 + 0.030 * torch.rand(count, generator=rng) ** 3  # most are small
    slide = 0.05 * (torch.rand(count, generator=rng) < 0.15) * time  # some run down
    y, x = _coordinates(height, width, device)
    grid = torch.stack([x, y], -1)
    covered, shade = torch.zeros_like(x), torch.ones_like(x)
    aspect = width / height
    for (cx, cy), r, down in zip(centre, radius, slide, strict=True):
        cy = (cy + 1 + down) % 2 - 1  # what leaves at the bottom comes back at the top
        dx, dy = (x - cx) * aspect, (y - cy) * 0.85  # round in pixels, a little longer than wide
        away = (dx * dx + dy * dy).sqrt() / r
        inside = away < 1
        # A lens of short focal length turns its image upside down and takes in 9 times its own width.
        target = torch.stack([cx - (x - cx) * 9, cy - (y - cy) * 9], -1).clamp(-1, 1)
        grid = torch.where(inside[..., None], target, grid)
        covered = torch.maximum(covered, (1.15 - away).clamp(0, 0.15) / 0.15)
        shade = torch.where(inside, 1 - 0.45 * away**4 + 0.15 * (dy < 0), shade)  # dark rim, light from above
    return grid, covered, shade
