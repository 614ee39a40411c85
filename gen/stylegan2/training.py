"""Train a StyleGAN2 generator on a folder of images."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.loading import loading
from gen.media.resize import to_uint8
from gen.metrics.distances import Population
from gen.metrics.features import load_features
from gen.stylegan2 import losses
from gen.stylegan2.ada import DRAWS as ADA_DRAWS
from gen.stylegan2.ada import EVERY, ada_augment, adjusted
from gen.stylegan2.augment import DRAWS, diff_augment
from gen.stylegan2.networks import StyleGAN2Discriminator, StyleGAN2Generator, config_f_channels
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.start import begin_with
from gen.training.data import ImageData
from gen.training.frames import load_frames
from gen.training.loop import Trainer
from gen.training.optimizers import adam
from gen.training.projected import ProjectedHeads, Projector

T = TypeVar("T")

SAMPLES = 48
"""Latents in a sample grid, 8 per row."""

MEASURED = 32
"""Batch size of the feature network."""

PATH_DECAY = 0.01
"""Weight of a new mean path length in the running mean."""


DISCRIMINATOR, GENERATOR, R1, PATH = 4, 7, 8, 9
"""Streams of random numbers: each update draws anew, as in the published code."""


class Draws(NamedTuple):
    """All random numbers of a batch for one update; a function of the seed and of the sample numbers alone."""

    z: Tensor
    """(B, 2, z_dim): one z for the coarse and one for the fine layers."""
    crossing: Tensor
    """(B,), the first layer that uses the second z; the number of layers where no layer does."""
    noise: list[Tensor]
    """Noise maps (B, 1, r, r), one for each convolution."""
    augment: Tensor
    """(2, B, N), uniform: for the real and the generated images; N depends on the augmentation."""
    samples: Sequence[int]
    """Their numbers, for the draws of steps that not every image takes."""


class StyleGAN2Trainer(Trainer[StyleGAN2Settings]):
    """Trains generator and discriminator in turn, with lazy regularisation (section 3.1 of the paper)."""

    betas = (0.0, 0.99)
    settings_class = StyleGAN2Settings

    def __init__(self, settings: StyleGAN2Settings) -> None:
        s = settings
        if s.size & (s.size - 1):
            raise BadSetting(f"size must be a power of two, for example 64, 128 or 256, not {s.size}.")
        if s.adversary == "projected" and s.r1_gamma:
            raise BadSetting("r1_gamma: must be 0 with adversary=projected, whose heads are regularised by their norm.")
        super().__init__(settings)
        with self.accelerator.main_process_first():
            self.frames = load_frames(
                "images", s.data, s.out / "cache", s.size, (s.size, s.size), square=True, strict=s.strict
            )
        self.data = ImageData(self.frames, s.size, s.seed, self.device, s.flip)
        self.generator = make_generator(s)
        self.projector: Projector | None = None
        if s.adversary == "projected":
            self.projector = Projector(s.projected_width, s.seed).to(self.device)
            self.discriminator = ProjectedHeads(s.projected_width)
        else:
            self.discriminator = StyleGAN2Discriminator(self.generator.config["channels"])
        self.setup({"generator": self.generator, "discriminator": self.discriminator}, averaged="generator")
        self.path_mean = torch.zeros((), device=self.device)
        zero = torch.zeros((), device=self.device)
        self.penalties = {"r1": zero} if s.r1_gamma else {}
        """The last value of each lazy penalty, with its weight: what the log shows between two of its steps."""
        self.penalties |= {"path_length": zero} if s.path_weight else {}
        self.augment_share = torch.zeros((), device=self.device)
        """ADA's probability of each change."""
        self._signs: list[Tensor] = []
        """The mean signs of D(real) since it was changed."""
        self._draws = ADA_DRAWS if s.ada_target else DRAWS
        self._reference: Population | None = None
        if s.start_from is not None and self.checkpoint is None:  # a resumed run has its own weights
            begin_with(cast(StyleGAN2Generator, self.raw["generator"]), s.start_from)
            self.average_from_here()

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` times the images of the folder."""
        return self.settings.images_to_show(len(self.frames))

    def learning_rate(self, name: str, progress: float) -> float:
        """The base schedule, reduced for a network with lazy regularisation."""
        return super().learning_rate(name, progress) * self._lazy_ratio(name)

    def make_optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """Adam; for a network with lazy regularisation, with the corrected betas of the paper (appendix B)."""
        ratio = self._lazy_ratio(name)
        return adam(network, self.settings.lr, (self.betas[0] ** ratio, self.betas[1] ** ratio))

    def _lazy_ratio(self, name: str) -> float:
        """c = k / (k + 1) for a network that is regularised every k-th step.

        Such a network takes k + 1 optimiser steps per k training steps; lr c and beta^c keep the optimiser's memory,
        counted in training steps, the same.
        """
        s = self.settings
        weight, every = (s.path_weight, s.path_every) if name == "generator" else (s.r1_gamma, s.r1_every)
        return every / (every + 1) if weight else 1.0

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One update of the discriminator and of the generator, each followed by its penalty when that is due."""
        s = self.settings
        number = self.images_shown // s.batch
        batches = [(self.data.batch(samples), samples) for samples in parts]

        # Discriminator. With the generator frozen, autograd stores nothing of its forward pass.
        self.generator.requires_grad_(False)
        self.discriminator.requires_grad_(True)
        record = {"discriminator": self._update("discriminator", self.discriminator_loss, batches, DISCRIMINATOR)}
        if s.r1_gamma and number % s.r1_every == 0:
            self.penalties["r1"] = self._update("discriminator", self._r1, batches, R1)

        # Generator.
        self.discriminator.requires_grad_(False)
        self.generator.requires_grad_(True)
        if self.images_shown < s.warm_up:
            return record | self.penalties
        record["generator"] = self._update("generator", self.generator_loss, batches, GENERATOR)
        if s.path_weight and number % s.path_every == 0:
            self.penalties["path_length"] = self._update("generator", self._path_penalty, batches, PATH)
        if s.ada_target:
            self._adjust_share(number)
            record["progress/augment_share"] = self.augment_share
        return record | self.penalties

    def _adjust_share(self, number: int) -> None:
        """ADA: after every few steps, change images more often or more seldom."""
        if number % EVERY == EVERY - 1:
            s = self.settings
            sign = self.mean_over_processes(torch.stack(self._signs).mean())
            self.augment_share = adjusted(self.augment_share, sign, s.ada_target, EVERY * s.batch)
            self._signs.clear()

    def _update(
        self,
        name: str,
        loss: Callable[[Tensor, Draws], Tensor],
        batches: Sequence[tuple[Tensor, Sequence[int]]],
        stream: int,
    ) -> Tensor:
        """One optimiser step of network `name` on `loss(real images, draws)`; returns the mean loss.

        `batches`: real images and their sample numbers, by accumulation part.
        """
        values: list[Tensor] = []
        with self.updating(name):
            for real, samples in batches:
                value = loss(real, self.draw(samples, stream))
                self.backward({name: value})
                values.append(value.detach())
            self.average_gradients(name)
        return torch.stack(values).mean()

    def discriminator_loss(self, real: Tensor, draws: Draws) -> Tensor:
        """The discriminator's loss on real images (B, 3, H, W) and on generated ones. Extend it to change the loss."""
        with self.accelerator.autocast():
            fake = self.generator.synthesis(self._styles(draws), draws.noise)
            of_real, of_fake = (
                self._logits(images, draw) for images, draw in zip((real, fake), draws.augment, strict=True)
            )
        if self.settings.ada_target:
            self._signs.append(torch.cat([logits.detach().flatten() for logits in of_real]).sign().mean())
        loss = losses.hinge_discriminator if self.projector else losses.logistic_discriminator
        return torch.stack([loss(*pair) for pair in zip(of_real, of_fake, strict=True)]).sum()

    def generator_loss(self, real: Tensor, draws: Draws) -> Tensor:
        """The generator's loss on generated images. Extend it to change the loss."""
        with self.accelerator.autocast():
            fake = self.generator.synthesis(self._styles(draws), draws.noise)
            of_fake = self._logits(fake, draws.augment[1])
        loss = losses.hinge_generator if self.projector else losses.non_saturating_generator
        return torch.stack([loss(logits) for logits in of_fake]).sum()

    def _logits(self, images: Tensor, draws: Tensor) -> list[Tensor]:
        """What the discriminator says of images: logits (B,), or those of each scale's patches (B, 1, h, w)."""
        images = self._augmented(images, draws)
        return self.discriminator(self.projector(images)) if self.projector else [self.discriminator(images)]

    def _augmented(self, images: Tensor, draws: Tensor) -> Tensor:
        if self.settings.ada_target:
            images = ada_augment(images, draws, self.augment_share)
        elif self.settings.augment:
            images = diff_augment(images, draws)
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return images.contiguous(memory_format=layout)

    def _r1(self, real: Tensor, draws: Draws) -> Tensor:
        """R1 penalty, times gamma / 2 and the steps between two penalties.

        It calls the forward of the class, not of the instance: the instance's may be compiled, and torch.compile has no
        double backward; and accelerate wraps it in autocast, but a squared gradient needs float32.
        """
        s = self.settings
        real = real.detach().requires_grad_(True)
        discriminator = cast(StyleGAN2Discriminator, self.discriminator)
        logits = StyleGAN2Discriminator.forward(discriminator, self._augmented(real, draws.augment[0]))
        penalty = losses.r1_penalty(logits, real)
        return penalty * (s.r1_gamma / 2 * s.r1_every)

    def _path_penalty(self, real: Tensor, draws: Draws) -> Tensor:
        """Squared distance of the path lengths from their running mean, weighted; float32, as R1."""
        s = self.settings
        # Half of the batch is enough for the estimate (appendix B), and a double backward needs much memory.
        half = max(1, len(draws.z) // 2)
        ws = self._styles(draws)[:half]
        images = self.generator.synthesis(ws, [noise[:half] for noise in draws.noise])
        random = torch.Generator(self.device)
        directions = torch.stack(
            [
                torch.randn(image.shape, generator=self._seeded(random, sample, 6), device=self.device)
                for image, sample in zip(images, draws.samples, strict=False)
            ]
        )
        lengths = losses.path_lengths(images, ws, directions)
        self.path_mean = torch.lerp(self.path_mean, self.mean_over_processes(lengths.detach().mean()), PATH_DECAY)
        return (lengths - self.path_mean).square().mean() * (s.path_weight * s.path_every)

    def _styles(self, draws: Draws) -> Tensor:
        """w for each layer, (B, layers, w_dim), with style mixing (Karras et al. 2019, section 3.1)."""
        coarse, fine = self.generator.mapping(draws.z.flatten(0, 1)).unflatten(0, (-1, 2)).unsqueeze(2).unbind(1)
        layers = torch.arange(self.generator.layers, device=self.device)
        return torch.where((layers < draws.crossing[:, None]).unsqueeze(2), coarse, fine)

    def draw(self, samples: Sequence[int], stream: int = DISCRIMINATOR) -> Draws:
        """The random numbers of these samples for an update. Each sample has its own, so any process may draw it."""
        s = self.settings
        sizes = self.generator.noise_sizes
        areas = [r * r for r in sizes]
        random = torch.Generator(self.device)
        normal: list[Tensor] = []
        uniform: list[Tensor] = []
        for sample in samples:
            self._seeded(random, sample, stream)
            normal.append(torch.randn(2 * s.z_dim + sum(areas), generator=random, device=self.device))
            uniform.append(torch.rand(2 * self._draws + 2, generator=random, device=self.device))
        z, *noise = torch.stack(normal).split([2 * s.z_dim, *areas], dim=1)
        maps = [n.view(-1, 1, r, r) for n, r in zip(noise, sizes, strict=True)]
        augment, choice = torch.stack(uniform).split([2 * self._draws, 2], dim=1)
        layers = self.generator.layers
        crossover = 1 + (choice[:, 0] * (layers - 1)).long()
        crossing = torch.where(choice[:, 1] < s.mixing, crossover, layers)
        of_augment = augment.unflatten(1, (2, self._draws)).transpose(0, 1)
        return Draws(z.unflatten(1, (2, -1)), crossing, maps, of_augment, samples)

    def _seeded(self, random: torch.Generator, sample: int, use: int) -> torch.Generator:
        """The generator, at the start of the stream that this sample has for this use."""
        return random.manual_seed(int(np.random.default_rng((self.settings.seed, sample, use)).integers(2**63)))

    def data_record(self) -> dict[str, Any]:
        """The folder, the number of images, and their size in the cache."""
        return {"images": self.frames.summary()}

    def extra_state(self) -> dict[str, Any]:
        """The running mean of path lengths, the last penalties, for the log, and where ADA is."""
        state = {"path_mean": self.path_mean, "penalties": self.penalties}
        return (
            state | {"augment_share": self.augment_share, "signs": self._signs} if self.settings.ada_target else state
        )

    def load_extra_state(self, state: Any) -> None:
        """Restore what `extra_state` gave."""
        self.path_mean = state["path_mean"].to(self.device)
        if self.settings.ada_target:
            self.augment_share = state["augment_share"].to(self.device)
            self._signs = [sign.to(self.device) for sign in state["signs"]]
        self.penalties = {name: value.to(self.device) for name, value in state["penalties"].items()}

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """The same latents each time, 8 per row."""
        sheet = make_grid(to_uint8(self._generate(range(SAMPLES))), nrow=8, padding=2, pad_value=255)
        return sheet.permute(1, 2, 0).cpu().numpy()

    def _generate(self, seeds: Sequence[int]) -> Tensor:
        with self.accelerator.autocast():
            return self.generator(latents(seeds, self.settings.z_dim).to(self.device))

    @property
    def measure_every(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """`distance_every`, or 0 where no distance is measured."""
        return self.settings.distance_every if self.settings.distance_images else 0

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Fréchet and kernel distance between images drawn with the averaged weights and the folder."""
        if self._reference is None:
            self._reference = Population(load_features(self.settings.distance_features).to(self.device))
            for indices in batched(range(len(self.frames)), MEASURED):
                self._reference.add(torch.stack([self.data.image(i) for i in indices]).permute(0, 2, 3, 1))
        generated = Population(self._reference.network)
        for seeds in batched(range(self.settings.distance_images), MEASURED):
            generated.add(to_uint8(self._generate(seeds)).permute(0, 2, 3, 1))
        distance = generated.distance(self._reference)
        return {"frechet": distance.frechet, "kernel": distance.kernel}


def batched(items: Sequence[T], size: int) -> list[Sequence[T]]:
    """`items` in consecutive batches of at most `size`."""
    return [items[i : i + size] for i in range(0, len(items), size)]


@loading
def make_generator(s: StyleGAN2Settings) -> StyleGAN2Generator:
    """A new generator of the shape in the settings. Raises `BadSetting` where a layer would have no channel."""
    channels = config_f_channels(s.size, s.channel_multiplier, s.channel_max)
    if min(channels) < 1:
        raise BadSetting(
            f"channel_multiplier: {s.channel_multiplier:g} leaves no channels at {s.size} pixels; use a larger number."
        )
    return StyleGAN2Generator(channels, s.z_dim, s.z_dim, s.mapping_layers)


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """One z per seed, (len(seeds), z_dim), the same on every machine."""
    return torch.stack([torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
