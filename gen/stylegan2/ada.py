"""Adaptive discriminator augmentation: changes of the images that are as frequent as the discriminator memorises.

Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020 (arXiv 2006.06676). The
pipeline bgc of its appendix B: pixel blitting, geometry and colour, each change with probability p. A departure: an
image is sampled once, by bicubic interpolation, and not at twice its size between two wavelet filters.
"""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

GATES, VALUES = 13, 15
DRAWS = GATES + VALUES
"""Random numbers per image: whether each change is made, and how large it is."""
TURNS = (4, 6)
"""The gates of the two rotations."""
IMAGES_TO_FULL = 500_000
"""Images in which p can go from 0 to 1 (appendix B)."""
EVERY = 4
"""Steps between two changes of p."""


def adjusted(p: Tensor, sign: Tensor, target: float, images: int) -> Tensor:
    """The probability after `images` more images, in which the mean sign of D(real) was `sign`; both scalars.

    A discriminator that is sure of its training images has memorised them: p rises while the sign is above `target`.
    """
    return (p + torch.sign(sign - target) * (images / IMAGES_TO_FULL)).clamp(0, 1)


def ada_augment(images: Tensor, draws: Tensor, p: Tensor) -> Tensor:
    """Images (B, 3, S, S) in [-1, 1], `draws` (B, DRAWS) uniform in [0, 1], scalar `p` -> changed images.

    Values may exceed 1.
    """
    # Two rotations, each with a probability that makes either or both happen with probability p.
    once = 1 - (1 - p).sqrt()
    shares = torch.stack([once if gate in TURNS else p for gate in range(GATES)])
    on = draws[:, :GATES] < shares
    uniform = draws[:, GATES:]
    theta = _origins(on[:, :8].unbind(1), uniform[:, :10].unbind(1), images.shape[-1])
    grid = F.affine_grid(theta[:, :2], list(images.shape), align_corners=False)
    colour = _colours(on[:, 8:].unbind(1), uniform[:, 10:].unbind(1))
    x = cast(Tensor, _Sampled.apply(images, grid.to(images.dtype))).flatten(2)
    return (colour[:, :3, :3].to(x.dtype) @ x + colour[:, :3, 3:].to(x.dtype)).view_as(images)


def _origins(on: tuple[Tensor, ...], u: tuple[Tensor, ...], side: int) -> Tensor:
    """Where the pixels of the changed image come from: matrices (B, 3, 3) on coordinates from -1 to 1.

    `on` (B,) says which changes are made: mirrored, turned by quarters, moved by whole pixels; scaled, turned,
    stretched, turned, moved. `u` (B,), 0..1, says by how much.
    """
    mirrored = torch.where(on[0] & (u[0] < 0.5), -1.0, 1.0)
    quarters = torch.where(on[1], (u[1] * 4).floor() * (math.pi / 2), 0)
    whole = [torch.where(on[2], ((2 * v - 1) * 0.125 * side).round() * (2 / side), 0) for v in u[2:4]]
    scaled, stretched = (torch.where(on[i], torch.exp2(0.2 * _normal(u[i + 1])), 1) for i in (3, 5))
    before, after = (torch.where(on[i], (2 * u[i + 1] - 1) * math.pi, 0) for i in (4, 6))
    moved = [torch.where(on[7], 2 * 0.125 * _normal(v), 0) for v in u[8:10]]
    first = _scale(mirrored, torch.ones_like(mirrored)) @ _turn(quarters) @ _shift(*whole)
    return (
        first
        @ _scale(scaled, scaled)
        @ _turn(before)
        @ _scale(stretched, 1 / stretched)
        @ _turn(after)
        @ _shift(*moved)
    )


def _colours(on: tuple[Tensor, ...], u: tuple[Tensor, ...]) -> Tensor:
    """Matrices (B, 4, 4) on (r, g, b, 1): brightness, contrast, inverted luma, hue, saturation."""
    count, like = len(u[0]), u[0]
    eye = torch.eye(4, device=like.device).expand(count, 4, 4)
    grey = torch.full((3,), 3**-0.5, device=like.device)  # the axis of luma
    onto = F.pad(grey[:, None] * grey, (0, 1, 0, 1))  # projects on it
    bright = torch.where(on[0], 0.2 * _normal(u[0]), 0)
    contrast = torch.where(on[1], torch.exp2(0.5 * _normal(u[1])), 1)
    flipped = torch.where(on[2] & (u[2] < 0.5), 2.0, 0.0)
    hue = torch.where(on[3], (2 * u[3] - 1) * math.pi, 0)
    saturation = torch.where(on[4], torch.exp2(_normal(u[4])), 1)
    rgb = F.pad(torch.eye(3, device=like.device), (0, 1, 0, 1))  # the unit matrix of the colours alone
    one = eye - rgb

    def each(values: Tensor) -> Tensor:
        return values.view(-1, 1, 1)

    x = eye + each(bright) * F.pad(torch.ones(3, 1, device=like.device), (3, 0, 0, 1))
    x = (each(contrast) * rgb + one) @ x
    x = (eye - each(flipped) * onto) @ x
    # Rodrigues' formula about the axis of luma.
    across = F.pad(torch.linalg.cross(torch.eye(3, device=like.device), grey.expand(3, 3)), (0, 1, 0, 1))
    turn = each(hue.cos()) * (rgb - onto) + each(hue.sin()) * across + onto + one
    x = turn @ x
    return (onto + one + each(saturation) * (rgb - onto)) @ x


def _normal(uniform: Tensor) -> Tensor:
    """Uniform in [0, 1] -> N(0, 1), by the inverse of its distribution."""
    return math.sqrt(2) * torch.erfinv((2 * uniform - 1).clamp(-0.999999, 0.999999))


def _matrix(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _scale(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix((x, zero, zero), (zero, y, zero), (zero, zero, one))


def _turn(angle: Tensor) -> Tensor:
    zero, one, c, s = torch.zeros_like(angle), torch.ones_like(angle), angle.cos(), angle.sin()
    return _matrix((c, s, zero), (-s, c, zero), (zero, zero, one))


def _shift(x: Tensor, y: Tensor) -> Tensor:
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix((one, zero, x), (zero, one, y), (zero, zero, one))


class _Sampled(torch.autograd.Function):
    """Bicubic `grid_sample` with reflected borders, which R1 can differentiate twice: torch's has no second gradient.

    In the image it is linear, so the second gradient is the sampling itself; the grid gets none.
    """

    HOW = (2, 2, False)
    """Bicubic, reflection, corners of pixels and not centres at -1 and 1."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(images, grid)
        return torch.ops.aten.grid_sampler_2d(images, grid, *_Sampled.HOW)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        images, grid = ctx.saved_tensors
        return cast(Tensor, _SampledGradient.apply(grads[0], images, grid)), None


class _SampledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, grad: Tensor, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        return torch.ops.aten.grid_sampler_2d_backward(grad, images, grid, *_Sampled.HOW, (True, False))[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return cast(Tensor, _Sampled.apply(grads[0], grid)), None, None
