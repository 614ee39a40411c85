"""Projection: find the latent of a real image in the generator (GAN inversion).

Karras et al. 2020, section 5 and appendix D: optimise w and the noise maps until the generated image is perceptually
close to the given one. Noise on w fades during the search, and a penalty keeps image content out of the noise maps.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.stylegan2.networks import MappingNetwork

PERCEPTUAL_SIZE = 256
"""Images are scaled to this side for the perceptual distance; its network finds little structure in smaller ones."""


class Projected(Protocol):
    """What `project` needs of a generator."""

    z_dim: int
    layers: int
    w_average: Tensor
    mapping: MappingNetwork

    def draw_noise(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> list[Tensor]:
        """Noise maps; none of StyleGAN3."""
        ...

    def synthesis(self, w: Tensor, noise: Any = ...) -> Tensor:
        """w (B, layers, w_dim) -> images (B, 3, size, size)."""
        ...


def project(
    generator: Projected,
    images: Tensor,
    perceptual: nn.Module,
    steps: int = 500,
    extended: bool = True,
    lr: float = 0.1,
    seed: int = 0,
    progress: Callable[[float], object] | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Images (B, 3, size, size) in [-1, 1] -> latents (B, w_dim), or (B, layers, w_dim) if `extended`.

    `start` (B, layers, w_dim), from an encoder, is where the search begins, or its mean over the layers if not
    `extended`; with 0 steps, it is the answer. Default: the mean of w. `perceptual` comes from `load_perceptual`;
    `progress(distance)` is called after every step. `lr` is Adam's largest learning rate. The optimised noise maps are
    dropped: adapted generators draw with the maps stored in them.
    """
    device = images.device
    random = torch.Generator(device).manual_seed(seed)
    mean, spread = w_statistics(generator)
    begin = mean if start is None else start if extended else start.mean(1, keepdim=True)
    w = begin.expand(len(images), generator.layers if extended else 1, -1).clone().requires_grad_(True)
    noise = generator.draw_noise(len(images), random, device)
    for n in noise:
        n.requires_grad_(True)
    optimizer = torch.optim.Adam([w, *noise], lr=lr)
    with torch.no_grad():
        reference = at_perceptual_size(images)
    for step in range(steps):
        t = step / steps
        optimizer.param_groups[0]["lr"] = lr * ramp(t)
        # Explore first, refine later: the published noise is 0.05 of the spread of w and ends after 75 % of the steps.
        strength = 0.05 * spread * max(0.0, 1 - t / 0.75) ** 2
        moved = w + torch.randn(w.shape, generator=random, device=device) * strength
        drawn = generator.synthesis(moved.expand(-1, generator.layers, -1), noise)
        # Departure from the paper: a pixel term beside the perceptual one, for exact colours.
        distance = perceptual(at_perceptual_size(drawn), reference).mean() + F.mse_loss(drawn, images)
        loss = distance + 1e5 * sum(noise_regularity(n) for n in noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():  # renormalise, or the maps would grow and take over image content
            for n in noise:
                n.sub_(n.mean()).mul_(n.square().mean().rsqrt())
        if progress:
            progress(float(distance.detach()))
    return w.detach() if extended else w.detach()[:, 0]


@torch.no_grad()
def w_statistics(generator: Projected, count: int = 4096) -> tuple[Tensor, float]:
    """Mean w (1, 1, w_dim) and its spread sqrt(mean |w - mean|^2) over `count` latents of a fixed seed."""
    device = generator.w_average.device
    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(device)
    w = generator.mapping(z)
    mean = w.mean(0, keepdim=True)
    return mean.unsqueeze(0), float((w - mean).square().sum(1).mean().sqrt())


def at_perceptual_size(images: Tensor) -> Tensor:
    """Images (B, 3, H, W) resized for the perceptual distance: (B, 3, 256, 256)."""
    if images.shape[-1] == PERCEPTUAL_SIZE:
        return images
    return F.interpolate(images, (PERCEPTUAL_SIZE, PERCEPTUAL_SIZE), mode="bilinear", antialias=True)


def ramp(t: float) -> float:
    """Share of the learning rate at t in [0, 1]: linear rise over 5 %, cosine fall over the last 25 %."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25))
    return down * min(1.0, t / 0.05 + 1e-3)  # 1e-3: the first step must move something, too


def noise_regularity(noise: Tensor) -> Tensor:
    """Squared autocorrelation of a noise map (B, 1, r, r) at a shift of one pixel, at every scale down to 8 pixels.

    Zero for white noise, large for a map that holds image content.
    """
    total = noise.new_zeros(())
    while True:
        for axis in (2, 3):
            total = total + (noise * noise.roll(1, axis)).mean((1, 2, 3)).square().sum()
        if noise.shape[2] <= 8:
            return total
        noise = F.avg_pool2d(noise, 2) * 2  # the mean of 4 has a quarter of the variance; times 2 restores it
