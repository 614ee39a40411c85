"""The dash-cam: what windscreen, lens and sensor make of the light."""

import torch
from torch import Tensor
from torch.nn import functional as F

from gen.smd.shading import bloom, blur, tone
from gen.smd.street.street import Street
from gen.smd.street.weather import Weather


def photograph(picture: Tensor, street: Street, time: float, weather: Weather, rng: torch.Generator) -> Tensor:
    """What windscreen, lens and sensor make of the light, (1, 3, H, W) -> uint8."""
    height, width = picture.shape[-2:]
    picture = picture * weather.exposure
    picture = bloom(picture, weather.glare, height / 150)
    if weather.rain or weather.flakes:
        picture = _falling(picture, weather, rng)
    if weather.drops:
        picture = _drops(picture, street, time, weather)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    picture = picture * (1 - weather.vignette * (x * x + y * y) / 2).to(picture)
    # Photons and electronics: their variance grows with the light, and never is nothing.
    draws = torch.randn(picture.shape, generator=rng).to(picture)
    picture = picture + weather.grain * (picture.clamp(0, 1) * 0.5 + 0.02).sqrt() * draws
    return tone(picture)


def _falling(picture: Tensor, weather: Weather, rng: torch.Generator) -> Tensor:
    """Streaks of rain or flakes of snow, as bright as the light around them."""
    height, width = picture.shape[-2:]
    around = blur(picture.clamp(max=3), height / 20).mean(1, keepdim=True)
    total = torch.zeros_like(around)
    for size, count in ((1.0, 0.0025), (2.0, 0.0008)):
        amount = weather.rain + weather.flakes
        seeds = (torch.rand((1, 1, height, width), generator=rng) < count * amount * (360 / height)).float().to(picture)
        if weather.rain:
            length = max(3, int(height / 22 * size)) | 1
            kernel = torch.zeros(1, 1, length, 5, device=picture.device)
            for row in range(length):
                kernel[0, 0, row, 1 + int(2.5 * row / length)] = 0.55
            total += F.conv2d(F.pad(seeds, (2, 2, length // 2, length // 2)), kernel)
        else:
            total += blur(seeds, 0.7 * size * height / 360) * (9 * size)
    white = 0.35 if weather.flakes else 0.12
    return picture + total.clamp(0, 1) * (around * (0.9 if weather.flakes else 0.45) + white * around.mean())


def _drops(picture: Tensor, street: Street, time: float, weather: Weather) -> Tensor:
    """Drops on the windscreen: small lenses that show the scene behind them upside down and blurred."""
    height, width = picture.shape[-2:]
    rng = torch.Generator().manual_seed(street.seed)
    count = int(60 * weather.drops)
    centre = torch.rand((count, 2), generator=rng) * 2 - 1
    radius = 0.010 + 0.030 * torch.rand(count, generator=rng) ** 3
    slide = 0.05 * (torch.rand(count, generator=rng) < 0.15) * time  # some run down
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    grid = torch.stack([x, y], -1)
    inside_any, dark = torch.zeros(height, width), torch.ones(height, width)
    aspect = width / height
    for (cx, cy), r, down in zip(centre, radius, slide, strict=True):
        cy = (cy + 1 + down) % 2 - 1
        dx, dy = (x - cx) * aspect, (y - cy) * 0.85
        away = (dx * dx + dy * dy).sqrt() / r
        inside = away < 1
        target = torch.stack([cx - (x - cx) * 9, cy - (y - cy) * 9], -1).clamp(-1, 1)
        grid = torch.where(inside[..., None], target, grid)
        inside_any = torch.maximum(inside_any, (1.15 - away).clamp(0, 0.15) / 0.15)
        dark = torch.where(inside, 1 - 0.45 * away**4 + 0.15 * (dy < 0), dark)
    soft = blur(picture.clamp(max=4), height / 120)
    behind = F.grid_sample(soft, grid[None].to(picture), align_corners=True, padding_mode="border")
    mask = inside_any.to(picture)
    return picture * (1 - mask) + behind * dark.to(picture) * mask
