"""Instance normalisation for translators, and running averages of its statistics for clips."""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class InstanceNorm(nn.Module):
    """Instance normalisation, eps 1e-5, biased variance, the same in training and at test time.

    Written with `var_mean` because `nn.InstanceNorm2d` drops the channels-last layout; on the CPU, in float32 and the
    ordinary layout, torch's group norm does the same in a single pass there and back, many times as fast.
    Statistics are taken in float32 whatever the precision of the activations. `smoother`, when set, replaces the
    statistics of a frame.
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
        scale = torch.rsqrt(var + 1e-5)
        if self.weight is None or self.bias is None:
            return scale, -mean * scale
        scale = self.weight.view(1, -1, 1, 1) * scale
        return scale, self.bias.view(1, -1, 1, 1) - mean * scale

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape, each channel of each image normalised over its pixels."""
        if self.smoother is None and x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous():
            return torch.group_norm(x, x.shape[1], self.weight, self.bias, 1e-5)
        var, mean = torch.var_mean(x.float(), dim=(2, 3), correction=0, keepdim=True)
        scale, shift = self.affine(var, mean)
        return torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype))


class StatisticsSmoother:
    """Exponential moving average of InstanceNorm statistics over the frames of one clip.

    A normalisation that sees one frame alone makes brightness and colour jump when a lamp enters the picture. The
    averages live here and not in the network: use one smoother per clip.
    """

    def __init__(self, decay: float) -> None:
        """`decay` in [0, 1): weight of the running average at each frame; 0 disables averaging."""
        self.decay = decay
        self.past: dict[InstanceNorm, tuple[Tensor, Tensor]] = {}

    def smooth(self, norm: InstanceNorm, var: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, C, 1, 1) of consecutive frames -> their running averages, in the same order."""
        smoothed: list[tuple[Tensor, Tensor]] = []
        past = self.past.get(norm)
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
