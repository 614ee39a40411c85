"""StyleGAN3's generator, configurations T and R, in pure PyTorch.

Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021 (arXiv 2106.12423). Feature maps are signals
with a cutoff below half of their sampling rate: the first layer draws waves instead of reading a constant, and every
leaky ReLU runs between an up- and a downsampling filter, so that the details it makes do not alias. T: 3x3
convolutions; R: 1x1 convolutions and filters of circular symmetry, so that it does not know which way is up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen.stylegan2.networks import EqualLinear, MappingNetwork, clamped, full, leaky
from gen.stylegan3.filters import IDENTITY, downsample, jinc, kaiser, upsample

MOST_TAPS = 256
"""Of a filter along one axis; published networks have 24."""


@dataclass(frozen=True)
class Signal:
    """A feature map: its channels, its side in samples, and the band that it may fill, in cycles per image."""

    channels: int
    size: int
    rate: int
    """Samples per image; `size` has margins beside them."""
    cutoff: float
    half_width: float
    """Half of the transition band of the filters."""


def signals(
    size: int,
    channel_base: int,
    channel_max: int,
    layers: int,
    critical: int,
    first_cutoff: float,
    first_stopband: float,
    last_stopband: float,
    margin: int,
) -> list[Signal]:
    """The output of each layer, the toRGB the last: cutoff and stopband grow geometrically (section 3.2, appendix C.1).

    `last_stopband` is relative to the last cutoff, size / 2; the last `critical` layers use their band to the full.
    Raises `ValueError` if these are none or all, if `size` is no power of two, and for a band that is none.
    """
    if not 1 <= critical < layers:
        raise ValueError(f"critical_layers must be from 1 to {layers - 1}, not {critical}")
    if size < 4 or size & (size - 1):
        raise ValueError(f"size must be a power of two, not {size}")
    if not 1 <= first_cutoff <= first_stopband:
        raise ValueError(f"first_cutoff must be from 1 to first_stopband {first_stopband}, not {first_cutoff}")
    found: list[Signal] = []
    for index in range(layers + 1):
        share = min(index / (layers - critical), 1)
        cutoff = first_cutoff * (size / 2 / first_cutoff) ** share
        stopband = first_stopband * (size / 2 * last_stopband / first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, size)))
        channels = 3 if index == layers else round(min(channel_base / 2 / cutoff, channel_max))
        side = size if index >= layers - 1 else rate + 2 * margin
        found.append(Signal(channels, side, rate, cutoff, max(stopband, rate / 2) - cutoff))
    return found


class FourierInput(nn.Module):
    """w -> waves of fixed frequencies, turned and shifted by w, mixed by a matrix (section 3.1, appendix F)."""

    transform: Tensor
    frequencies: Tensor
    phases: Tensor

    def __init__(self, signal: Signal, w_dim: int) -> None:
        super().__init__()
        self.signal = signal
        count = signal.channels
        self.weight = nn.Parameter(torch.randn(count, count))
        self.affine = EqualLinear(w_dim, 4)
        with torch.no_grad():  # at the start, every w draws the waves as they are
            self.affine.weight.zero_()
            self.affine.bias[0].fill_(1)
        way = torch.randn(count, 2)
        radius = way.square().sum(1, keepdim=True).sqrt()
        # A uniform disc: the radius of a normal point, by its distribution, becomes one whose square is uniform.
        self.register_buffer("frequencies", way / (radius * radius.square().exp().pow(0.25)) * signal.cutoff)
        self.register_buffer("phases", torch.rand(count) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor) -> Tensor:
        """(B, w_dim) -> (B, C, size, size), in float32."""
        with torch.autocast(w.device.type, enabled=False):
            frequencies, phases = self.moved(self.affine(w))
            s = self.signal
            # Frequencies above the cutoff, which only `transform` can make, fade out before they alias.
            amplitude = (1 - (frequencies.norm(dim=2) - s.cutoff) / (s.rate / 2 - s.cutoff)).clamp(0, 1)
            place = (torch.arange(s.size, device=w.device, dtype=phases.dtype) + 0.5 - s.size / 2) / s.rate
            along_x = place[None, None, :, None] * frequencies[:, None, None, :, 0]
            along_y = place[None, :, None, None] * frequencies[:, None, None, :, 1]
            angle = along_x + along_y + phases[:, None, None, :]
            waves = (2 * math.pi * angle).sin() * amplitude[:, None, None, :]
            return (waves @ (full(self.weight) / math.sqrt(s.channels)).T).permute(0, 3, 1, 2).contiguous()

    def moved(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Rotation and shift (B, 4), as (cosine, sine, x, y) of any length -> frequencies (B, C, 2), phases (B, C)."""
        cosine, sine, x, y = (parameters / parameters[:, :2].norm(dim=1, keepdim=True)).unbind(1)
        turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
        shift = -torch.stack([x, y], 1)[:, :, None]
        user = full(self.transform)
        # turn (p + shift), after the user's own transform of p.
        matrix, offset = turn @ user[:2, :2], turn @ (user[:2, 2:] + shift)
        frequencies = full(self.frequencies)
        return frequencies @ matrix, full(self.phases) + (frequencies @ offset).squeeze(2)


class AliasFreeLayer(nn.Module):
    """Modulated convolution, bias, leaky ReLU between filters. The toRGB has neither filters nor leaky ReLU."""

    magnitude: Tensor

    def __init__(
        self, before: Signal, after: Signal, w_dim: int, kernel: int, radial: bool, filter_size: int, upsampling: int,
        is_rgb: bool, clamp: float | None,
    ) -> None:  # fmt: skip
        """`upsampling`: how much finer the leaky ReLU's sampling is; `filter_size`: taps per coarse sample."""
        super().__init__()
        self.kernel, self.is_rgb, self.radial, self.clamp = kernel, is_rgb, radial, clamp
        self.affine = EqualLinear(w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude", torch.ones(()))
        """Mean square of the input, averaged over the training; the input is divided by its root."""
        rate = max(before.rate, after.rate) * (1 if is_rgb else upsampling)
        self.up, self.down = rate // before.rate, rate // after.rate
        if not 1 <= filter_size * max(self.up, self.down) <= MOST_TAPS:
            raise ValueError(f"a filter would have {filter_size * max(self.up, self.down)} taps, not up to {MOST_TAPS}")
        self.up_filter = self.down_filter = IDENTITY
        up_taps = down_taps = 1
        if self.up > 1:
            up_taps = filter_size * self.up
            self.up_filter = kaiser(up_taps, before.cutoff, 2 * before.half_width, rate)
        if self.down > 1:
            down_taps = filter_size * self.down
            self.down_filter = (jinc if radial else kaiser)(down_taps, after.cutoff, 2 * after.half_width, rate)
        # What the filters take off is put on first, and half a sample decides on which side (appendix C.3).
        total = (after.size - 1) * self.down + 1 - (before.size + kernel - 1) * self.up + up_taps + down_taps - 2
        self.padding = (total + self.up) // 2, total - (total + self.up) // 2

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Features (B, in, H, W), w (B, w_dim) -> (B, out, H', W')."""
        x = self.convolve(x, self.affine(w)) + self.bias.to(x.dtype)[:, None, None]
        x = upsample(x, self.up_filter, self.up, *self.padding)
        x = clamped(x if self.is_rgb else leaky(x), self.clamp)
        return downsample(x, self.down_filter, self.down, self.radial)

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """Features, style (B, in) -> (B, out, H + kernel - 1, W + kernel - 1).

        As in StyleGAN2, input and output are scaled instead of one kernel for each image. The norms of weights and
        style cancel in demodulation; they keep numbers in float16's range. (The published code takes the style's over
        the whole batch, which makes the same picture.)
        """
        weight = full(self.weight)
        if self.is_rgb:
            style, norm = style / math.sqrt(weight[0].numel()), None
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            style = style * torch.rsqrt(style.square().mean(1, keepdim=True) + 1e-8)
            norm = torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)
        x = x * (style * full(self.magnitude).rsqrt())[:, :, None, None].to(x.dtype)
        x = F.conv2d(x, weight.to(x.dtype), padding=self.kernel - 1)
        return x if norm is None else x * norm[:, :, None, None].to(x.dtype)


class StyleGAN3Generator(ModelMixin, ConfigMixin):
    """z -> w -> image, with the same methods as `StyleGAN2Generator`; there are no noise maps.

    It uses `synthesis_layers` + 2 copies of w: for the waves, for each layer, and for the toRGB.
    """

    w_average: Tensor

    @register_to_config
    def __init__(
        self,
        size: int = 256,
        channel_base: int = 32768,
        channel_max: int = 512,
        kernel: int = 3,
        radial: bool = False,
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 2,
        synthesis_layers: int = 14,
        critical_layers: int = 2,
        first_cutoff: float = 2.0,
        first_stopband: float = 2**2.1,
        last_stopband: float = 2**0.3,
        margin: int = 10,
        filter_size: int = 6,
        upsampling: int = 2,
        output_scale: float = 0.25,
        conv_clamp: float | None = 256.0,
    ) -> None:
        """The defaults are config T; R has `kernel` 1, `radial`, and twice the `channel_base` and `channel_max`."""
        super().__init__()
        self.size, self.z_dim, self.w_dim, self.output_scale = size, z_dim, w_dim, output_scale
        self.layers = synthesis_layers + 2
        """Copies of w."""
        outputs = signals(
            size, channel_base, channel_max, synthesis_layers, critical_layers, first_cutoff, first_stopband,
            last_stopband, margin,
        )  # fmt: skip
        self.mapping = MappingNetwork(z_dim, w_dim, mapping_layers)
        self.register_buffer("w_average", torch.zeros(w_dim))
        self.input = FourierInput(outputs[0], w_dim)
        self.convs = nn.ModuleList()
        for index, after in enumerate(outputs):
            is_rgb = index == synthesis_layers
            circular = radial and index < synthesis_layers - critical_layers
            layer = AliasFreeLayer(
                outputs[max(index - 1, 0)], after, w_dim, 1 if is_rgb else kernel, circular, filter_size, upsampling,
                is_rgb, conv_clamp,
            )  # fmt: skip
            self.convs.append(layer)

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Latents (B, z_dim), standard normal -> images (B, 3, size, size), nominally in [-1, 1]."""
        return self.synthesis(self.truncated(self.mapping(z), truncation))

    def truncated(self, w: Tensor, truncation: float) -> Tensor:
        """w (B, w_dim) -> w_average + truncation (w - w_average): 1 leaves w unchanged, 0 gives the average."""
        return w if truncation == 1 else torch.lerp(self.w_average.to(w.dtype), w, truncation)

    def synthesis(self, w: Tensor, noise: Sequence[Tensor] = ()) -> Tensor:
        """w (B, w_dim), or one per layer (B, layers, w_dim) -> images (B, 3, size, size), nominally in [-1, 1].

        `noise` is not used: it is there so that all generators can be called alike.
        """
        ws = w.unsqueeze(1).expand(-1, self.layers, -1) if w.ndim == 2 else w
        x = self.input(ws[:, 0])
        for index, conv in enumerate(self.convs):
            x = cast(AliasFreeLayer, conv)(x, ws[:, index + 1])
        return full(x) * self.output_scale

    def draw_noise(
        self, count: int, generator: torch.Generator | None = None, device: torch.device | None = None
    ) -> list[Tensor]:
        """No maps: StyleGAN3 has no noise."""
        return []

    def settings(self) -> dict[str, Any]:
        """Constructor arguments of a generator of this shape."""
        return {k: v for k, v in self.config.items() if not k.startswith("_")}
