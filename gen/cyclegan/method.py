"""CycleGAN and CUT in one file: networks, losses, pipeline, trainer.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017
(arXiv 1703.10593); Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020
(arXiv 2007.15651). It is the plain baseline beside AU-GAN, and shows what a translation method must bring.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from numpy.typing import NDArray
from torch import Tensor, nn

from gen.cyclegan.settings import CycleGANSettings, check_settings
from gen.media.resize import pad_to_multiple, to_uint8
from gen.tensors import constant, on_device
from gen.training.data import Batch
from gen.translation import losses
from gen.translation.norm import InstanceNorm
from gen.translation.pipeline import NO_MAPS, Maps, TranslationPipeline
from gen.translation.runtimes.graph import Network
from gen.translation.settings import DIRECTIONS, Direction
from gen.translation.tiling import Run, run_in_strips
from gen.translation.training import Fakes, UnpairedTrainer

Norm = Literal["instance", "batch"]
NCE_WIDTH = 256
"""Channels that PatchNCE's features are projected to, as published."""

# Networks.


def normalisation(channels: int, norm: Norm) -> nn.Module:
    """InstanceNorm without learnt parameters, or BatchNorm."""
    return nn.BatchNorm2d(channels) if norm == "batch" else InstanceNorm(channels, affine=False)


class ResNetBlock(nn.Module):
    """Reflection-padded conv3x3, norm, ReLU, conv3x3, norm, plus the input."""

    def __init__(self, channels: int, norm: Norm, bias: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            normalisation(channels, norm),
            nn.ReLU(inplace=True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            normalisation(channels, norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same shape."""
        return x + self.conv_block(x)

    def in_strips(self, x: Tensor, run: Run) -> Tensor:
        """As `forward`, see `gen.translation.tiling`."""
        return run(self.conv_block, x).add_(x)


class BlurDownsample(nn.Module):
    """Blur by (1, 2, 1)/4 both ways, then every other pixel (Zhang, "Making Convolutional Networks Shift-Invariant
    Again", ICML 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), even sides -> (B, C, H/2, W/2)."""
        row, channels = constant((0.25, 0.5, 0.25), x), int(x.shape[1])  # int: a constant in a traced graph
        kernel = (row[:, None] * row).expand(channels, 1, 3, 3)
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=channels)


class ResNetGenerator(ModelMixin, ConfigMixin):
    """Two downsamplings, residual blocks, two upsamplings. Layers are numbered as in the public repositories."""

    MULTIPLE = 4

    @register_to_config
    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        antialias_down: bool = False,
        antialias_up: bool = False,
    ) -> None:
        """`width`: channels of the first layer. `antialias_*`: blur and interpolate, as CUT does."""
        super().__init__()
        bias = norm == "instance"  # a BatchNorm has a shift of its own
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias)]
        layers += [normalisation(width, norm), nn.ReLU(inplace=True)]
        self.feature_layers = [0]
        """PatchNCE's layers: input, both downsampling convolutions, the first and the fifth block."""
        for channels in (2 * width, 4 * width):
            self.feature_layers.append(len(layers))
            stride = 1 if antialias_down else 2
            layers += [nn.Conv2d(channels // 2, channels, 3, stride=stride, padding=1, bias=bias)]
            layers += [normalisation(channels, norm), nn.ReLU(inplace=True)]
            layers += [BlurDownsample()] if antialias_down else []
        self.feature_layers += [len(layers), len(layers) + 4]
        layers += [ResNetBlock(4 * width, norm, bias) for _ in range(blocks)]
        for channels in (2 * width, width):
            if antialias_up:  # CUT's blur of zero-stuffed features by (1, 3, 3, 1) is bilinear interpolation
                up = [nn.Upsample(scale_factor=2, mode="bilinear")]
                layers += [*up, nn.Conv2d(2 * channels, channels, 3, padding=1, bias=bias)]
            else:
                up = nn.ConvTranspose2d(2 * channels, channels, 3, stride=2, padding=1, output_padding=1, bias=bias)
                layers += [up]
            layers += [normalisation(channels, norm), nn.ReLU(inplace=True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [-1, 1], sides multiples of 4 -> translation of the same shape."""
        return self.model(image)

    def features(self, image: Tensor) -> list[Tensor]:
        """The five feature maps that PatchNCE compares; the layers after the last are not run."""
        found: list[Tensor] = []
        x = image
        for index, layer in enumerate(self.model[: self.feature_layers[-1] + 1]):
            # Activations work in place: what is kept must not be changed by the layer that follows.
            x = layer(x)
            if index in self.feature_layers:
                found.append(x.clone() if index + 1 < len(self.model) else x)
        return found


class PatchDiscriminator(nn.Module):
    """70x70 PatchGAN: (B, 3, H, W) -> logits (B, 1, about H/8, about W/8), each of which sees 70x70 pixels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        for before, after, stride in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
            layers += [nn.Conv2d(before * width, after * width, 4, stride=stride, padding=1)]
            layers += [normalisation(after * width, "instance"), nn.LeakyReLU(0.2, inplace=True)]
        self.model = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, padding=1))
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """See the class."""
        return self.model(image)


class PatchProjections(nn.Module):
    """PatchNCE's two-layer MLP for each feature map, to unit vectors."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(c, NCE_WIDTH), nn.ReLU(inplace=True), nn.Linear(NCE_WIDTH, NCE_WIDTH))
            for c in channels
        )

    def forward(self, maps: Sequence[Tensor], positions: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps (B, C, H, W) and positions (P,) in each -> unit vectors (B, P, NCE_WIDTH)."""
        return [
            F.normalize(mlp(found.flatten(2)[..., where].transpose(1, 2)), dim=-1)
            for mlp, found, where in zip(self.mlps, maps, positions, strict=True)
        ]


def initialise(network: nn.Module) -> None:
    """Published start: convolutions ~ N(0, 0.02), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


# Losses. The adversarial and cycle losses are in gen/translation/losses.py.


def patch_nce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Contrastive loss of unit vectors (B, P, D): mean over patches p of -log softmax_j(q_p . k_j / temperature)_p.

    A patch of the translation must be recognised among the patches of its own input; no gradient flows to `keys`.
    """
    logits = queries.float() @ keys.detach().float().transpose(1, 2) / temperature
    target = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), target.flatten())


def same(image: Tensor, translated: Tensor) -> Tensor:
    """Identity loss: mean |G(y) - y| for images of the target domain."""
    return (translated.float() - image).abs().mean()


# Pipeline.


class CycleGANPipeline(TranslationPipeline):
    """Both directions of a CycleGAN, or one, as CUT has. It has no uncertainty maps."""

    adverse_to_normal: ResNetGenerator | None
    normal_to_adverse: ResNetGenerator | None

    def __init__(
        self,
        adverse_to_normal: ResNetGenerator | None,
        normal_to_adverse: ResNetGenerator | None,
        trained_height: int = 256,
        trained_width: int = 256,
        auto_height: int | None = None,
        weathers: list[str] | None = None,
    ) -> None:
        """See `TranslationPipeline.set_up`."""
        super().__init__()
        self.set_up(
            trained_height,
            trained_width,
            auto_height,
            weathers,
            adverse_to_normal=adverse_to_normal,
            normal_to_adverse=normal_to_adverse,
        )

    @property
    def multiple(self) -> int:
        """The networks halve twice."""
        return ResNetGenerator.MULTIPLE

    def network(self, direction: Direction) -> Network:
        """The generator."""
        generator: ResNetGenerator = self.generator(direction)
        return lambda images: (generator(images.to(generator.dtype)),)

    def run_network(
        self, small: Tensor, direction: Direction, tile: int | None, native: tuple[int, int], invention: bool
    ) -> tuple[Tensor, Maps]:
        """See `TranslationPipeline.run_network`."""
        generator: ResNetGenerator = self.generator(direction)
        # Reflection padding in the blocks needs two pixels at a quarter of the size.
        tiny = min(small.shape[2:]) <= self.multiple
        images = pad_to_multiple(small, self.multiple * (2 if tiny else 1)).to(generator.dtype)
        if tile is None:
            (translated,) = self.outputs(direction, images)
        else:
            translated = run_in_strips(generator.model, images.cpu(), tile, generator.device).to(small.device)
        return translated[..., : small.shape[2], : small.shape[3]].float(), NO_MAPS


# Training.


class GeneratorPair(nn.Module):
    """The generators of the directions that are trained, PatchNCE's projections, and the losses that need no
    discriminator: one forward pass, so that several processes exchange all gradients at once."""

    def __init__(self, settings: CycleGANSettings) -> None:
        super().__init__()
        s = self.settings = settings
        trained = {d: s.directions in ("both", d) for d in DIRECTIONS}
        shape: dict[str, Any] = {"antialias_down": s.antialias, "antialias_up": s.antialias}
        self.generators = nn.ModuleDict(
            {d: ResNetGenerator(s.width, s.blocks, **shape) for d, wanted in trained.items() if wanted}
        )
        channels = (3, 2 * s.width, 4 * s.width, 4 * s.width, 4 * s.width)
        self.projections = nn.ModuleDict({d: PatchProjections(channels) for d in self.generators if s.nce_weight > 0})

    def forward(self, adverse: Tensor, normal: Tensor, seeds: Sequence[int]) -> tuple[Fakes, dict[str, Tensor]]:
        """Images (B, 3, H, W) in [-1, 1] -> translations, and the weighted terms."""
        made: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        for direction, generator in self.generators.items():
            source, target = (adverse, normal) if direction == "adverse_to_normal" else (normal, adverse)
            made[direction] = generator(source)
            if self.settings.identity_weight:
                distance = same(target, generator(target))
                terms[f"identity_{direction}"] = self.settings.identity_weight * distance
            if self.settings.nce_weight:
                pairs = ((source, made[direction]), (target, generator(target)))
                nce = [self._nce(direction, x, y, seeds) for x, y in pairs]
                terms[f"nce_{direction}"] = self.settings.nce_weight * torch.stack(nce).mean()
        fakes = Fakes(adverse=made.get("normal_to_adverse"), normal=made.get("adverse_to_normal"))
        if self.settings.cycle_weight and fakes.adverse is not None and fakes.normal is not None:
            back_a = self.generators["normal_to_adverse"](fakes.normal)
            back_b = self.generators["adverse_to_normal"](fakes.adverse)
            terms["cycle_a"] = self.settings.cycle_weight * losses.cycle(back_a, adverse)
            terms["cycle_b"] = self.settings.cycle_weight * losses.cycle(back_b, normal)
        return fakes, terms

    def _nce(self, direction: str, source: Tensor, translated: Tensor, seeds: Sequence[int]) -> Tensor:
        """PatchNCE of a translation with its source, the mean over the layers."""
        generator: Any = self.generators[direction]
        project = self.projections[direction]
        queries, keys = generator.features(translated), generator.features(source)
        rng = np.random.default_rng(seeds[0])
        positions = [self._positions(rng, x.shape[2] * x.shape[3], x.device) for x in keys]
        pairs = zip(project(queries, positions), project(keys, positions), strict=True)
        return torch.stack([patch_nce(q, k, self.settings.nce_temperature) for q, k in pairs]).mean()

    def _positions(self, rng: np.random.Generator, count: int, device: torch.device) -> Tensor:
        chosen = rng.choice(count, min(self.settings.nce_patches, count), replace=False)
        return on_device(chosen, device)


class Discriminators(nn.ModuleDict):
    """One discriminator for each direction."""

    def forward(self, images: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
        """By direction, real frames and translations -> their logits."""
        return {direction: (self[direction](real), self[direction](fake)) for direction, (real, fake) in images.items()}


class CycleGANTrainer(UnpairedTrainer[CycleGANSettings]):
    """CycleGAN, or with `nce_weight` and without cycles CUT."""

    settings_class = CycleGANSettings

    def __init__(self, settings: CycleGANSettings) -> None:
        check_settings(settings)
        super().__init__(settings)
        s = settings
        self.pair = GeneratorPair(s)
        # By the direction whose translations they see.
        self.discriminators = Discriminators(
            {d: PatchDiscriminator(s.discriminator_width) for d in self.pair.generators}
        )
        self.setup({"generators": self.pair, "discriminators": self.discriminators}, averaged="generators")

    def generator_terms(self, batch: Batch) -> tuple[Fakes, dict[str, Tensor]]:
        """See `UnpairedTrainer.generator_terms`."""
        with self.accelerator.autocast():
            fakes, terms = self.wrapped["generators"](batch.adverse, batch.normal, batch.seeds)
            for direction, fake in _by_direction(fakes).items():
                logits = self.discriminators[direction](fake)
                terms[f"adversarial_{direction}"] = losses.adversarial_generator([[logits]])
        if self.data.pairs and self.settings.pair_weight:
            terms["pair"] = self.settings.pair_weight * self.pair_distance(fakes, batch)
        return fakes, terms

    def discriminator_terms(self, batch: Batch, fakes: Fakes) -> dict[str, Tensor]:
        """See `UnpairedTrainer.discriminator_terms`."""
        real = {"adverse_to_normal": batch.normal, "normal_to_adverse": batch.adverse}
        with self.accelerator.autocast():
            seen = {direction: (real[direction], fake) for direction, fake in _by_direction(fakes).items()}
            # Wrapped, so that several processes exchange gradients.
            judged = self.wrapped["discriminators"](seen)
            return {
                f"discriminator_{direction}": losses.adversarial_discriminator([[of_real]], [[of_fake]])
                for direction, (of_real, of_fake) in judged.items()
            }

    def sample_row(self, image: Tensor, adverse: bool) -> list[NDArray[np.uint8]]:
        """Input, translation and cycle; black for a direction that is not trained."""
        pictures = [image]
        for direction in DIRECTIONS if adverse else reversed(DIRECTIONS):
            trained = direction in self.pair.generators
            with self.accelerator.autocast():
                pictures.append(self.pair.generators[direction](pictures[-1]) if trained else -torch.ones_like(image))
        return [to_uint8(x)[0].permute(1, 2, 0).cpu().numpy() for x in pictures]


def _by_direction(fakes: Fakes) -> dict[str, Tensor]:
    """The translations that there are, by the direction that made them."""
    made = {"adverse_to_normal": fakes.normal, "normal_to_adverse": fakes.adverse}
    return {direction: fake for direction, fake in made.items() if fake is not None}
