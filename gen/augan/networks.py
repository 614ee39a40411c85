"""AU-GAN's networks: asymmetric generators and cross-wired two-scale discriminators.

Kwak et al., "Adverse Weather Image Translation with Asymmetric and Uncertainty-aware GAN", BMVC 2021
(arXiv 2112.04283). No convolution has a bias, as in the published code.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from gen.augan import light
from gen.augan.exposure import ExposureCurve, compose
from gen.augan.residual import Residual
from gen.augan.settings import Design, Upsampling
from gen.training.projected import ProjectedHeads
from gen.translation.norm import InstanceNorm


def multiple_of(design: Design, pretrained: bool) -> int:
    """The sides of an image must be multiples of this; the published networks halve it twice."""
    if pretrained:
        return light.PRETRAINED_MULTIPLE
    return light.MULTIPLE if design == "light" else 4


class ResidualBlock(Residual):
    """conv3x3, norm, ReLU, conv3x3, norm, plus the input; zero padding."""

    def __init__(self, channels: int) -> None:
        layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            InstanceNorm(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            InstanceNorm(channels),
        )
        super().__init__(layers)


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """A sequence of `count` residual blocks; the identity for 0."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def encoder(width: int, blocks: int, channels: int = 3) -> nn.Sequential:
    """Image (B, channels, H, W) -> features (B, 4 width, H/4, W/4)."""
    return nn.Sequential(
        nn.ReflectionPad2d(3),
        nn.Conv2d(channels, width, 7, bias=False),
        InstanceNorm(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
        InstanceNorm(2 * width),
        nn.ReLU(inplace=True),
        nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1, bias=False),
        InstanceNorm(4 * width),
        nn.ReLU(inplace=True),
        *residual_blocks(4 * width, blocks),
    )


def upsample(channels: int, upsampling: Upsampling) -> nn.Sequential:
    """(B, C, H, W) -> (B, C/2, 2H, 2W), normalised, ReLU.

    `deconv` is the published transposed convolution. `resize` (nearest, then conv3x3) has the same number of parameters
    and four times the MACs, and avoids checkerboard artefacts.
    """
    half = channels // 2
    up: list[nn.Module]
    if upsampling == "deconv":
        up = [nn.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1, bias=False)]
    else:
        up = [nn.Upsample(scale_factor=2), nn.Conv2d(channels, half, 3, padding=1, bias=False)]
    return nn.Sequential(*up, InstanceNorm(half), nn.ReLU(inplace=True))


def to_image(width: int, channels: int) -> nn.Sequential:
    """Features (B, width, H, W) -> (B, channels, H, W), without the final non-linearity."""
    return nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7, bias=False))


class Decoder(nn.Module):
    """Features (B, 4 width, H/4, W/4) -> image (B, 3, H, W) in [-1, 1], or (B, 6, H, W) if it `composes`."""

    def __init__(self, width: int, blocks: int, upsampling: Upsampling, design: Design, composes: bool = False) -> None:
        super().__init__()
        channels = 6 if composes else 3
        if design == "light":
            self.blocks = light.blocks(4 * width, blocks)
            self.up1 = light.upsample(4 * width)
            self.up2 = nn.Sequential()
            self.to_rgb = light.to_image(width, channels)
        else:
            self.blocks = residual_blocks(4 * width, blocks)
            self.up1 = upsample(4 * width, upsampling)
            self.up2 = upsample(2 * width, upsampling)
            self.to_rgb = to_image(width, channels)
        if not composes:
            self.to_rgb.append(nn.Tanh())

    def forward(self, features: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns the image or the maps, and d1, the half-resolution features that feed the uncertainty head.

        `noise` (2, B, 4 width, H/4, W/4) is added before and after the first block; only for reconstruction in
        training. (The published code adds it at test time too.)
        """
        if noise is None:
            x = self.blocks(features)
        else:
            first, rest = self.blocks[0], self.blocks[1:]
            x = rest(first(features + noise[0]) + noise[1])
        d1 = self.up1(x)
        return self.to_rgb(self.up2(d1)), d1


class Translation(NamedTuple):
    """A generator's output for a batch of images."""

    image: Tensor
    """(B, 3, H, W) in [-1, 1]."""
    features: Tensor
    """(B, 4 width, H/4, W/4): the encoder's output, r4."""
    transferred: Tensor
    """The T-net's output, t4; equal to `features` in a generator without a T-net."""
    log_scale: Tensor | None
    """(B, 1, H, W), s >= 0, large where uncertain; see `losses.laplace_scale`. None without the head."""


class AUGANGenerator(ModelMixin, ConfigMixin):
    """One direction: encoder, T-net (adverse -> normal only), decoder, uncertainty head, reconstruction decoder.

    Sides of images must be multiples of `multiple` (see `gen.media.resize.pad_to_multiple`). `reconstruction=False`
    leaves out the decoder that only training needs. `design`: see `gen.augan.light`. `exposure`: strength of the
    exposure curve, see `gen.augan.exposure`; 0: none. `pretrained`: the encoder of the light design also uses the
    features of a frozen ImageNet network.
    """

    @register_to_config
    def __init__(
        self,
        width: int = 64,
        blocks: int = 4,
        transfer_blocks: int = 4,
        uncertainty: bool = True,
        reconstruction: bool = True,
        upsampling: Upsampling = "deconv",
        design: Design = "published",
        exposure: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.curve = ExposureCurve(exposure) if exposure else None
        self.encoder = _encoder(width, blocks, design, exposure, pretrained)
        make_blocks = light.blocks if design == "light" else residual_blocks
        self.transfer = make_blocks(4 * width, transfer_blocks)
        self.decoder = Decoder(width, blocks, upsampling, design, composes=bool(exposure))
        self.reconstructor = Decoder(width, blocks, upsampling, design) if reconstruction else None
        self.head = _uncertainty_head(width, upsampling, design) if uncertainty else None
        initialise(self)
        light.smooth_shuffles(self)
        if exposure:  # small gain and offset: start near the exposed frame itself
            for parameter in self.decoder.to_rgb.parameters():
                parameter.data.mul_(0.1)

    @property
    def multiple(self) -> int:
        """Sides of an image must be multiples of this."""
        return multiple_of(self.config["design"], self.config["pretrained"])

    def forward(self, image: Tensor, transfer: bool = True, uncertainty: bool = True) -> Translation:
        """Image (B, 3, H, W) in [-1, 1] -> `Translation`. `transfer`: use the T-net; `uncertainty`: use the head."""
        features = self.encoder(self.encoder_input(image))
        transferred = self.transfer(features) if transfer else features
        decoded, d1 = self.decoder(transferred)
        log_scale = self.head(d1) if uncertainty and self.head is not None else None
        return Translation(self.compose(image, decoded), features, transferred, log_scale)

    def encoder_input(self, image: Tensor) -> Tensor:
        """The image and, with an exposure curve, the exposed image: (B, 3 or 6, H, W)."""
        return image if self.curve is None else torch.cat([image, self.curve(image)], dim=1)

    def compose(self, image: Tensor, decoded: Tensor) -> Tensor:
        """The translation, from the decoder's output for `image`."""
        return decoded if self.curve is None else compose(self.curve(image), decoded)

    def settings(self) -> dict[str, Any]:
        """The constructor arguments of this generator."""
        return {k: v for k, v in self.config.items() if not k.startswith("_")}

    def reconstruct(self, features: Tensor, noise: Tensor | None = None) -> Tensor:
        """Features before the T-net -> the image they came from, through the separate decoder."""
        if self.reconstructor is None:
            raise AttributeError(
                "this generator has no reconstruction decoder, because it was built with reconstruction=False"
            )
        return self.reconstructor(features, noise)[0]


def _encoder(width: int, blocks: int, design: Design, exposure: float, pretrained: bool) -> nn.Module:
    """The encoder for 3 channels or, with `exposure`, 6 -> features (B, 4 width, H/4, W/4)."""
    channels = 6 if exposure else 3
    if pretrained:
        brighter = slice(3, 6) if exposure > 0 else slice(0, 3)
        return light.PretrainedEncoder(width, blocks, channels, brighter)
    return light.encoder(width, blocks, channels) if design == "light" else encoder(width, blocks, channels)


def _uncertainty_head(width: int, upsampling: Upsampling, design: Design) -> nn.Sequential:
    """Half-size features (B, 2 width, H/2, W/2) -> s (B, 1, H, W)."""
    if design == "light":
        return nn.Sequential(light.to_image(width, 1), nn.Softplus())
    return nn.Sequential(upsample(2 * width, upsampling), to_image(width, 1), nn.Softplus())


class Discriminator(nn.Module):
    """Two branches, full and half resolution, that swap inputs at each of four levels.

    At each level, new x0 = conv4x4 s1 of old x1 and new x1 = two conv4x4 s2 of old x0, each followed by norm and
    LeakyReLU 0.2. The outputs for a 256x512 image are 16x32 and 8x16.
    """

    def __init__(self, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        channels = [3, *(width * 2**i for i in range(levels))]
        self.across = nn.ModuleList()
        self.down = nn.ModuleList()
        for before, after in pairwise(channels):
            self.across.append(_block4(before, after, stride=1))
            self.down.append(nn.Sequential(_block4(before, after, stride=2), _block4(after, after, stride=2)))
        self.heads = nn.ModuleList(nn.Sequential(*_conv4(channels[-1], 1, stride=1)) for _ in range(2))
        initialise(self)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Image (B, 3, H, W), sides of at least 64 -> two maps of logits (B, 1, h, w)."""
        x0 = image
        x1 = image[..., ::2, ::2]  # TensorFlow 1's bicubic resize to half the size comes to the same
        for across, down in zip(self.across, self.down, strict=True):
            x0, x1 = across(x1), down(x0)
        return [head(x) for head, x in zip(self.heads, (x0, x1), strict=True)]


def _conv4(before: int, after: int, stride: int) -> list[nn.Module]:
    """A 4x4 convolution with output size input / stride, padded like TensorFlow's SAME, as published."""
    pad = nn.ZeroPad2d((1, 2, 1, 2) if stride == 1 else 1)
    return [pad, nn.Conv2d(before, after, 4, stride=stride, bias=False)]


def _block4(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(*_conv4(before, after, stride), InstanceNorm(after), nn.LeakyReLU(0.2, inplace=True))


class DiscriminatorSet(nn.Module):
    """`count` discriminators per domain, equal except for their initial weights.

    With `projected_width`, also heads on the maps of a `gen.training.projected.Projector` of that width. The projector
    is not part of this module, because it is not trained.
    """

    def __init__(self, width: int = 32, levels: int = 4, count: int = 2, projected_width: int = 0) -> None:
        super().__init__()
        self.adverse = nn.ModuleList(Discriminator(width, levels) for _ in range(count))
        self.normal = nn.ModuleList(Discriminator(width, levels) for _ in range(count))
        self.heads = nn.ModuleList(ProjectedHeads(projected_width) for _ in range(2 if projected_width else 0))

    def forward(
        self, adverse: Tensor, normal: Tensor, maps: Sequence[list[Tensor]] = ()
    ) -> list[tuple[list[Tensor], list[Tensor]]]:
        """Real or fake images of each domain -> the logits of each pair (adverse, normal) of discriminators.

        `maps`: the projector's maps of the adverse and of the normal images; the logits of the heads come last.
        """
        logits = [(a(adverse), n(normal)) for a, n in zip(self.adverse, self.normal, strict=True)]
        if maps:
            logits.append((self.heads[0](maps[0]), self.heads[1](maps[1])))
        return logits


def initialise(network: nn.Module) -> None:
    """Published initialisation: convolutions ~ N(0, 0.02), norm scales ~ N(1, 0.02), norm shifts 0.

    The published code truncates some of the normal distributions at two sigma; we do not.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.weight.requires_grad:  # not frozen
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, InstanceNorm) and module.weight is not None and module.bias is not None:
            nn.init.normal_(module.weight, mean=1.0, std=0.02)
            nn.init.zeros_(module.bias)
