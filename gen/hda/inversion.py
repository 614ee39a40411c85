"""A real picture as a latent of the source generator.

Karras et al. 2020, section 5 and appendix D: optimise w and the noise maps so that the drawn picture is perceptually
close to the given one, with noise on w that fades, and a penalty that keeps picture content out of the noise maps.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.hda.networks import StyleGAN2Generator

PERCEPTUAL_SIZE = 256
"""Pixels that pictures are enlarged or reduced to for the perceptual distance: its network sees nothing in smaller."""


def invert(
    generator: StyleGAN2Generator,
    images: Tensor,
    perceptual: nn.Module,
    steps: int = 500,
    extended: bool = True,
    lr: float = 0.1,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
) -> Tensor:
    """Images (B, 3, size, size) in [-1, 1] -> latents (B, w_dim), or (B, layers, w_dim) if `extended`.

    `perceptual` is from `load_perceptual`; `progress(distance)` is called after every step. The noise maps that were
    found are dropped: the adapted generator draws with those stored in it.
    """
    device = images.device
    random = torch.Generator(device).manual_seed(seed)
    mean, spread = w_statistics(generator)
    w = mean.expand(len(images), generator.layers if extended else 1, -1).clone().requires_grad_(True)
    noise = generator.draw_noise(len(images), random, device)
    for n in noise:
        n.requires_grad_(True)
    optimizer = torch.optim.Adam([w, *noise], lr=lr)
    with torch.no_grad():
        reference = seen(images)
    for step in range(steps):
        t = step / steps
        optimizer.param_groups[0]["lr"] = lr * ramp(t)
        strength = 0.05 * spread * max(0.0, 1 - t / 0.75) ** 2
        moved = w + torch.randn(w.shape, generator=random, device=device) * strength
        drawn = generator.synthesis(moved.expand(-1, generator.layers, -1), noise)
        distance = perceptual(seen(drawn), reference).mean() + F.mse_loss(drawn, images)
        loss = distance + 1e5 * sum(noise_regularity(n) for n in noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for n in noise:
                n.sub_(n.mean()).mul_(n.square().mean().rsqrt())
        if progress:
            progress(float(distance.detach()))
    found = w.detach()
    return found if extended else found[:, 0]


@torch.no_grad()
def w_statistics(generator: StyleGAN2Generator, count: int = 4096) -> tuple[Tensor, float]:
    """Mean w (1, 1, w_dim) and its spread sqrt(mean |w - mean|^2) over `count` latents of a fixed seed."""
    device = generator.w_average.device
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    w = generator.mapping(z)
    mean = w.mean(0, keepdim=True)
    return mean.unsqueeze(0), float((w - mean).square().sum(1).mean().sqrt())


def seen(images: Tensor) -> Tensor:
    """At the size that is compared: (B, 3, 256, 256)."""
    if images.shape[-1] == PERCEPTUAL_SIZE:
        return images
    return F.interpolate(images, (PERCEPTUAL_SIZE, PERCEPTUAL_SIZE), mode="bilinear", antialias=True)


def ramp(t: float) -> float:
    """Share of the learning rate at t in [0, 1]: up over 5 %, down as a cosine over the last 25 %."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25))
    return down * min(1.0, t / 0.05 + 1e-3)


def noise_regularity(noise: Tensor) -> Tensor:
    """Squared correlation of a noise map (B, 1, r, r) with itself one pixel on, at every scale down to 8 pixels."""
    total = noise.new_zeros(())
    while True:
        for axis in (2, 3):
            total = total + (noise * noise.roll(1, axis)).mean((1, 2, 3)).square().sum()
        if noise.shape[2] <= 8:
            return total
        noise = F.avg_pool2d(noise, 2) * 2  # times two keeps the variance
