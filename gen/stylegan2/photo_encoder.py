"""The network of pSp and e4e: a photo -> one latent for each layer of a generator (W+), in one pass.

Richardson et al., "Encoding in Style" (pSp), CVPR 2021, arXiv 2008.00951. Tov et al., "Designing an Encoder for
StyleGAN Image Manipulation" (e4e), SIGGRAPH 2021, arXiv 2102.02766. A residual network with squeeze and excitation
(IR-SE-50) gives maps at strides 4, 8 and 16; coarse maps decide the first layers of the generator, fine ones the last.
The modules are called as in the published checkpoints, which `gen.stylegan2.psp` reads.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.stylegan2.networks import EqualLinear

SIDE = 256
"""Side in pixels of the photos that it sees."""

UNITS = (3, 4, 14, 3)
"""Residual units of each stage; the first of a stage halves the size."""

LAST = (6, 20, 23)
"""Indices of the units whose outputs are the maps at strides 4, 8 and 16."""

COARSE, MIDDLE = 3, 7
"""Layers of the generator below these numbers come from the coarse and from the middle map."""


class SqueezeExcitation(nn.Module):
    """Scales each channel by a number between 0 and 1 that all channels' means decide."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class Unit(nn.Module):
    """Residual unit: norm, 3x3 convolution, PReLU, 3x3 convolution with the stride, norm, squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer = (
            nn.MaxPool2d(1, stride)  # every second pixel
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return self.res_layer(x) + self.shortcut_layer(x)


class StyleHead(nn.Module):
    """A map -> the latent of one layer: convolutions that halve the size down to one pixel, then a linear layer."""

    def __init__(self, inputs: int, w_dim: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(halvings):
            layers += [nn.Conv2d(w_dim if level else inputs, w_dim, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(w_dim, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 2^halvings, 2^halvings) -> (B, w_dim)."""
        return self.linear(self.convs(x).flatten(1))


class PhotoEncoder(nn.Module):
    """Photos -> w of each layer, which may be drawn, or be the start of a projection."""

    w_offset: Tensor

    def __init__(
        self,
        layers: int,
        w_dim: int = 512,
        stem: int = 64,
        widths: Sequence[int] = (64, 128, 256, 512),
        deltas: bool = True,
    ) -> None:
        """`layers` of the generator; `widths` of the four stages, after `stem` channels.

        `deltas`: e4e, where the first latent is that of all layers and the others are differences from it; without,
        pSp, where each is a latent.
        """
        super().__init__()
        self.layers, self.w_dim, self.deltas = layers, w_dim, deltas
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem))
        units: list[Unit] = []
        for before, after, count in zip((stem, *widths), widths, UNITS, strict=False):
            units += [Unit(after if k else before, after, 1 if k else 2) for k in range(count)]
        self.body = nn.Sequential(*units)
        self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)
        halvings = [4 + (k >= COARSE) + (k >= MIDDLE) for k in range(layers)]
        self.styles = nn.ModuleList(StyleHead(widths[3], w_dim, n) for n in halvings)
        self.register_buffer("w_offset", torch.zeros(layers, w_dim), persistent=False)

    def forward(self, photos: Tensor) -> Tensor:
        """(B, 3, 256, 256) in [-1, 1] -> (B, layers, w_dim), with the average of w that the training started from."""
        coarse, middle, fine = self.pyramid(photos)
        maps = [coarse if k < COARSE else middle if k < MIDDLE else fine for k in range(self.layers)]
        w = torch.stack([head(x) for head, x in zip(self.styles, maps, strict=True)], dim=1)
        if self.deltas:
            w = torch.cat([w[:, :1], w[:, :1] + w[:, 1:]], dim=1)
        return w + self.w_offset

    def pyramid(self, photos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps of 16, 32 and 64 pixels; each but the first is added to the one before, enlarged."""
        x, maps = self.input_layer(photos), list[Tensor]()
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in LAST:
                maps.append(x)
        fine, middle, coarse = maps
        middle = enlarged(coarse, middle) + self.latlayer1(middle)
        return coarse, middle, enlarged(middle, fine) + self.latlayer2(fine)


def enlarged(x: Tensor, like: Tensor) -> Tensor:
    """A map (B, C, h, w) at the size of another one, bilinear."""
    # Corners on corners, as the published networks were trained; PyTorch's default would shift the map.
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)
