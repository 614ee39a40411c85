"""The invention map: per pixel, the expected error of a translation and the share of it that is invented.

A small separate network. Its inputs are the frame, its translation, and per pixel the log luma and local contrast of
the frame. It is trained on rendered pairs, whose true day is known; `gen.augan.invention_losses` defines both outputs.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from kornia.color import rgb_to_linear_rgb
from kornia.filters import box_blur
from torch import Tensor, nn

from gen.augan.losses import GREY_LEVELS
from gen.media.resize import luma, pad_to_multiple

FOLDER = "invention"
"""Sub-folder of a model folder with the map's weights; also its component name in the pipeline."""

MULTIPLE = 16
"""Sides must be multiples of this, because the network halves them four times."""

DARKEST = 2.0**-12
"""Smallest linear luma, to which darker pixels are clamped before the logarithm."""

START_ERROR = 32.0
"""Expected error in grey levels at the start of training; about that of a poor translation."""


class Invention(NamedTuple):
    """The network's output, per pixel."""

    log_error: Tensor
    """(B, 1, H, W), float32: natural logarithm of the expected |translation - true day| in grey levels."""
    share_logit: Tensor
    """(B, 1, H, W), float32: logit of the probability that the day of another street is more like the translation
    than the true day is."""

    @property
    def error(self) -> Tensor:
        """Expected absolute error in grey levels, > 0."""
        return self.log_error.exp()

    @property
    def share(self) -> Tensor:
        """Invented share, 0..1: 1 where the translation is no more similar to the true day than to any other day."""
        return (2 * self.share_logit.sigmoid()).clamp(max=1)


class Block(nn.Module):
    """ConvNeXt block: depthwise 5x5, LayerNorm over channels, twofold expansion and projection, plus the input.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022. Unlike InstanceNorm, this norm does not depend on the rest of the
    frame, so a black pixel has the same features in any frame.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.narrow(F.gelu(self.widen(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


def blocks(channels: int, count: int) -> nn.Sequential:
    """A sequence of `count` blocks."""
    return nn.Sequential(*(Block(channels) for _ in range(count)))


class InventionMap(ModelMixin, ConfigMixin):
    """A U-net of separable convolutions that works at half resolution and below, for frames of any size.

    `height`: rows of the training frames; reduce larger frames to it first, because the windows are in pixels.
    """

    @register_to_config
    def __init__(self, height: int = 192, widths: tuple[int, int, int, int] = (24, 48, 64, 80)) -> None:
        super().__init__()
        self.enter = nn.Conv2d(4 * len(INPUTS), widths[0], 1)
        pairs = list(pairwise(widths))
        self.first = blocks(widths[0], 1)
        self.down = nn.ModuleList(nn.Sequential(nn.Conv2d(a, b, 2, stride=2), blocks(b, 2)) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in reversed(pairs))
        self.join = nn.ModuleList(blocks(a, 1) for a, _ in reversed(pairs))
        self.leave = nn.Conv2d(widths[0], 2, 1)
        # Start with a constant map: the expected error START_ERROR, and a share of 1 at most (log 1 = logit of 1/2).
        nn.init.zeros_(self.leave.weight)
        self.leave.bias = nn.Parameter(torch.tensor([START_ERROR, 1.0]).log())

    def forward(self, frame: Tensor, translation: Tensor) -> Invention:
        """Frame and translation (B, 3, H, W) in [-1, 1] -> `Invention`."""
        height, width = frame.shape[-2:]
        x = pad_to_multiple(inputs(frame, translation), MULTIPLE).to(self.dtype)
        levels = [self.first(self.enter(F.pixel_unshuffle(x, 2)))]
        for down in self.down:
            levels.append(down(levels[-1]))
        x = levels.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(levels.pop() + F.interpolate(up(x), scale_factor=2.0, mode="bilinear"))
        out = F.interpolate(self.leave(x).float(), scale_factor=2.0, mode="bilinear")[..., :height, :width]
        return Invention(*out.split(1, dim=1))


INPUTS = ("frame r", "frame g", "frame b", "translation r", "translation g", "translation b", "stops", "detail")
"""The network's input channels."""


def inputs(frame: Tensor, translation: Tensor) -> Tensor:
    """The network's input (B, 8, H, W), float32, with the channels of `INPUTS`, each roughly in [-1, 1]."""
    frame, translation = frame.float(), translation.float()
    return torch.cat([frame, translation, stops(frame) / 6 + 1, local_deviation(frame).add(1).log2() / 3 - 1], dim=1)


def stops(frame: Tensor) -> Tensor:
    """Frame (B, 3, H, W) in [-1, 1] -> log2 of its linear luma (B, 1, H, W), from -12 (black) to 0 (white)."""
    return luma(rgb_to_linear_rgb((frame.clamp(-1, 1) + 1) / 2)).clamp(min=DARKEST).log2()


def local_deviation(frame: Tensor) -> Tensor:
    """Frame (B, 3, H, W) in [-1, 1] -> standard deviation of luma in 5x5 windows, (B, 1, H, W), grey levels.

    It measures sensor noise in flat areas and texture and edges elsewhere; it is 0 where blacks are crushed.
    """
    grey = luma(frame.float()) * GREY_LEVELS
    mean = box_blur(grey, (5, 5), border_type="replicate")
    square = box_blur((grey - mean) ** 2, (5, 5), border_type="replicate")
    return square.clamp(min=0).sqrt()
