"""Instance normalisation for translators, and running averages of its statistics for clips."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from gen.tensors import spatial_moments

EPS = 1e-5
"""Added to the variance."""


class InstanceNorm(nn.Module):
    """Instance normalisation, eps 1e-5, biased variance, the same in training and at test time.

    Not `nn.InstanceNorm2d`, which drops the channels-last layout. On a CPU, in the ordinary layout, torch's group norm
    does the same in a single pass there and back, many times as fast.
    Statistics, scale and shift are float32 whatever the precision of the activations. `smoother`, when set, replaces
    the statistics of a frame.
    """

    def __init__(self, channels: int, affine: bool = True) -> None:
        """`affine`: with a learnt scale and shift for each channel."""
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.smoother: StatisticsSmoother | None = None

    def affine(self, var: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, C, 1, 1) -> the scale and shift (B, C, 1, 1) that normalise with them."""
        if self.smoother is not None:
            var, mean = self.smoother.smooth(self, var, mean)
        return _affine(mean, torch.rsqrt(var + EPS), self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape, each channel of each image normalised over its pixels."""
        if self.smoother is not None or torch.compiler.is_compiling():  # the compiler fuses it, there and back
            return _scaled(x, *self.affine(*spatial_moments(x)))
        if x.device.type == "cpu" and x.is_contiguous() and _one_pass(x, self.weight):
            return torch.group_norm(x, self.channels, self.weight, self.bias, EPS)
        return cast(Tensor, _Normalisation.apply(x, self.weight, self.bias))


def _one_pass(x: Tensor, weight: Tensor | None) -> bool:
    """Whether torch's group norm on a CPU takes activations and scales of these types."""
    return x.dtype in (torch.float32, torch.bfloat16) and (weight is None or weight.dtype in (x.dtype, torch.float32))


def _affine(mean: Tensor, deviation: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation -> scale and shift; all (B, C, 1, 1), `weight` and `bias` (C,)."""
    scale = deviation if weight is None else weight.view(1, -1, 1, 1) * deviation
    shift = -mean * scale
    return scale, shift if bias is None else bias.view(1, -1, 1, 1) + shift


def _scaled(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """x * scale + shift, rounded once to the type of x: a bf16 shift is off by .05 where mean / deviation is 10."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return torch.addcmul(shift, x, scale).to(x.dtype)
    return torch.addcmul(shift, x, scale, out=torch.empty_like(x))  # one kernel, no copy in float32


class _Normalisation(torch.autograd.Function):
    """Normalise over the pixels, with the gradient written out: it passes over the maps less often than autograd's own.

    With x^ = (x - mean) / deviation and N pixels, dx = scale (g - sum g / N - x^ sum(g x^) / N).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        var, mean = spatial_moments(x)
        deviation = torch.rsqrt(var + EPS)
        ctx.save_for_backward(x, weight, mean, deviation)
        return _scaled(x, *_affine(mean, deviation, weight, bias))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        g, (x, weight, mean, deviation) = grads[0], ctx.saved_tensors
        if torch.is_grad_enabled():  # for gradients of gradients, as functions of x
            var, mean = spatial_moments(x)
            deviation = torch.rsqrt(var + EPS)
        pixels, dtype = x.shape[2] * x.shape[3], mean.dtype
        sum_g = g.sum((2, 3), keepdim=True, dtype=dtype)
        sum_gx = ((g * x).sum((2, 3), keepdim=True, dtype=dtype) - mean * sum_g) * deviation
        scale, _ = _affine(mean, deviation, weight, None)
        slope = -scale * deviation * sum_gx / pixels
        dx = _scaled(x, slope, -scale * sum_g / pixels - slope * mean)
        dx = dx + (g * scale).to(x.dtype) if torch.is_grad_enabled() else torch.addcmul(dx, g, scale, out=dx)
        if weight is None:
            return dx, None, None
        return dx, sum_gx.sum((0, 2, 3)).to(weight.dtype), sum_g.sum((0, 2, 3)).to(weight.dtype)


class StatisticsSmoother:
    """Exponential moving average of InstanceNorm statistics over the frames of one clip.

    A normalisation that sees one frame alone makes brightness and colour jump when a lamp enters the picture. The
    averages live here and not in the network: use one smoother per clip.
    """

    def __init__(self, decay: float) -> None:
        """`decay` in [0, 1): weight of the running average at each frame; 0 disables averaging."""
        self.decay = decay
        self.past: dict[object, tuple[Tensor, ...]] = {}
        """By norm, or by what runs all norms of a network, as it keeps them."""

    def smooth(self, norm: InstanceNorm, var: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, C, 1, 1) of consecutive frames -> their running averages, in the same order."""
        smoothed: list[tuple[Tensor, Tensor]] = []
        past = cast(tuple[Tensor, Tensor] | None, self.past.get(norm))
        for now in zip(var.split(1), mean.split(1), strict=True):
            if past is not None:
                now = (torch.lerp(now[0], past[0], self.decay), torch.lerp(now[1], past[1], self.decay))
            past = now
            smoothed.append(now)
        if past is not None:
            self.past[norm] = past
        return torch.cat([s[0] for s in smoothed]), torch.cat([s[1] for s in smoothed])

    @contextmanager
    def undone_on_error(self) -> Generator[None]:
        """If the block fails, the averages are those before it, so that its frames can be done again."""
        before = dict(self.past)
        try:
            yield
        except BaseException:
            self.past = before
            raise

    @contextmanager
    def attached(self, network: nn.Module) -> Generator[None]:
        """Within the block, every InstanceNorm of `network` takes its statistics through this smoother."""
        norms = [m for m in network.modules() if isinstance(m, InstanceNorm)]
        for norm in norms:
            norm.smoother = self
        try:
            yield
        finally:
            for norm in norms:
                norm.smoother = None
