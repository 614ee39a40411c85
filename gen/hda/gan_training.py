"""Training a StyleGAN2 generator on a folder of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torchvision.utils import make_grid

from gen.errors import BadSetting
from gen.hda import adversarial
from gen.hda.networks import StyleGAN2Discriminator, StyleGAN2Generator, config_f_channels
from gen.media.resize import to_uint8
from gen.metrics.distances import Population
from gen.metrics.features import FeatureName, load_features
from gen.training.augment import DRAWS, diff_augment
from gen.training.data import ImageData, load_frames
from gen.training.loop import Trainer
from gen.training.settings import Positive, TrainerSettings

SAMPLES = 48
"""Latents in a sample grid, 8 a row."""

MEASURED = 32
"""Images that a feature network is shown at once."""

PATH_DECAY = 0.01
"""Share of a new mean path length in the running mean."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Settings(TrainerSettings):
    """Settings of StyleGAN2 training; the defaults are the published configuration F at 256 pixels."""

    data: Path
    """Folder of images of one kind, aligned; others than square ones are cut in the middle."""

    size: Annotated[int, Field(ge=32, le=1024)] = 256
    """Pixels of a side; a power of two."""
    channel_multiplier: float = 2.0
    """Channels at r pixels are 16384 times this / r, up to `channel_max`."""
    channel_max: Positive = 512
    """Channels of the coarse layers."""
    z_dim: Positive = 512
    """Length of z and of w."""
    mapping_layers: Positive = 8
    """Layers from z to w."""

    augment: bool = True
    """DiffAugment, for sets of a few thousand images."""
    flip: bool = True
    """Mirror half of the images."""

    batch: Positive = 16
    """Images in one optimiser step, over all devices and accumulation steps."""
    lr: float = 0.002
    """Adam's learning rate."""
    decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Last share of the run in which it falls linearly to zero; published: none."""
    r1_gamma: float = 1.0
    """Weight of R1, halved in the loss. About 0.0002 size^2 / batch, more for small sets."""
    r1_every: Positive = 16
    """Steps between two R1 steps; the penalty is multiplied by as much."""
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of samples whose fine layers take another w than their coarse ones."""
    path_weight: float = 2.0
    """Weight of the path length penalty; 0 leaves it out."""
    path_every: Positive = 4
    """Steps between two path length steps, on half of the batch."""
    ema_half_life: Positive = 10_000
    """Images after which a weight's share in the averaged weights has halved."""
    ema_ramp: float | None = 0.05
    """Half-life at the start, as a share of the images shown so far."""

    distance_every: Positive = 50_000
    """Images between two measurements of the Fréchet distance."""
    distance_images: Annotated[int, Field(ge=0)] = 5000
    """Images made for it; 0: it is not measured."""
    distance_features: FeatureName = "auto"
    """Feature network of it."""

    may_change = (TrainerSettings.may_change - {"accumulate"}) | {
        "distance_every", "distance_images", "distance_features",
    }  # fmt: skip


class Draws(NamedTuple):
    """All that is random about a part's samples; a function of the seed and the samples' numbers."""

    z: Tensor
    """(B, 2, z_dim): for the coarse and for the fine layers."""
    crossing: Tensor
    """(B,), the first layer that takes the second; the number of layers where none does."""
    noise: list[Tensor]
    """(B, 1, r, r) a convolution."""
    augment: Tensor
    """(2, B, DRAWS), uniform: for the real and the made images."""


class StyleGAN2Trainer(Trainer[StyleGAN2Settings]):
    """Trains generator and discriminator in turn, with regularisation every few steps (section 3.1 of the paper)."""

    betas = (0.0, 0.99)

    def __init__(self, settings: StyleGAN2Settings) -> None:
        s = settings
        if s.size & (s.size - 1):
            raise BadSetting(f"size: {s.size} is not a power of two; 64, 128 and 256 are.")
        super().__init__(settings)
        with self.accelerator.main_process_first():
            self.frames = load_frames(
                "images", s.data, s.out / "cache", s.size, (s.size, s.size), square=True, strict=s.strict
            )
        self.data = ImageData(self.frames, s.size, s.seed, self.device, s.flip)
        self.generator = make_generator(s)
        channels = self.generator.config["channels"]
        self.judge = StyleGAN2Discriminator(channels)
        self.setup({"generator": self.generator, "discriminator": self.judge}, averaged="generator")
        self.path_mean = torch.zeros((), device=self.device)
        zero = torch.zeros((), device=self.device)
        self.penalties = {"r1": zero} if s.r1_gamma else {}
        """The last value of each lazy penalty, as weighted."""
        self.penalties |= {"path_length": zero} if s.path_weight else {}
        self._reference: Population | None = None

    @property
    def total_images(self) -> int:
        """`images`, or `epochs` of the folder."""
        s = self.settings
        return s.images if s.images is not None else round(s.epochs * len(self.frames))

    def learning_rate(self, name: str, progress: float) -> float:
        """Smaller beside lazy regularisation."""
        return super().learning_rate(name, progress) * self._lazy_ratio(name)

    def make_optimizer(self, name: str, network: nn.Module) -> torch.optim.Adam:
        """Adam; beside lazy regularisation, with the paper's correction of its betas (appendix B)."""
        optimizer = super().make_optimizer(name, network)
        optimizer.param_groups[0]["betas"] = tuple(beta ** self._lazy_ratio(name) for beta in self.betas)
        return optimizer

    def _lazy_ratio(self, name: str) -> float:
        """c = k / (k + 1) for a network that is regularised every k-th step."""
        s = self.settings
        weight, every = (s.path_weight, s.path_every) if name == "generator" else (s.r1_gamma, s.r1_every)
        return every / (every + 1) if weight else 1.0

    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Discriminator, R1, generator, path lengths."""
        s = self.settings
        number = self.images_shown // s.batch
        drawn = [(self.data.batch(samples), self.draw(samples)) for samples in parts]
        self.generator.requires_grad_(False)
        self.judge.requires_grad_(True)
        record = {"discriminator": self._update("discriminator", self._judge_loss, drawn)}
        if s.r1_gamma and number % s.r1_every == 0:
            self.penalties["r1"] = self._update("discriminator", self._r1, drawn)
        self.judge.requires_grad_(False)
        self.generator.requires_grad_(True)
        record["generator"] = self._update("generator", self._generator_loss, drawn)
        if s.path_weight and number % s.path_every == 0:
            self.penalties["path_length"] = self._update("generator", self._path_penalty, drawn)
        return record | self.penalties

    def _update(
        self, name: str, loss: Callable[[Tensor, Draws], Tensor], drawn: Sequence[tuple[Tensor, Draws]]
    ) -> Tensor:
        """One optimiser step of network `name` on the loss of real images and draws; returns its mean."""
        values: list[Tensor] = []
        with self.updating(name):
            for real, draws in drawn:
                value = loss(real, draws)
                self.backward({name: value})
                values.append(value.detach())
            self.average_gradients(name)
        return torch.stack(values).mean()

    def _judge_loss(self, real: Tensor, draws: Draws) -> Tensor:
        with self.accelerator.autocast():
            fake = self.generator.synthesis(self._styles(draws), draws.noise)
            logits = [
                self.judge(self._augmented(images, draw))
                for images, draw in zip((real, fake), draws.augment, strict=True)
            ]
        return adversarial.logistic_discriminator(*logits)

    def _generator_loss(self, real: Tensor, draws: Draws) -> Tensor:
        with self.accelerator.autocast():
            fake = self.generator.synthesis(self._styles(draws), draws.noise)
            logits = self.judge(self._augmented(fake, draws.augment[1]))
        return adversarial.non_saturating_generator(logits)

    def _augmented(self, images: Tensor, draws: Tensor) -> Tensor:
        images = diff_augment(images, draws) if self.settings.augment else images
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return images.contiguous(memory_format=layout)

    def _r1(self, real: Tensor, draws: Draws) -> Tensor:
        """In float32 and through the class's own forward: the instance's is compiled, which cannot be differentiated
        twice, or in mixed precision."""
        s = self.settings
        real = real.detach().requires_grad_(True)
        logits = StyleGAN2Discriminator.forward(self.judge, self._augmented(real, draws.augment[0]))
        penalty = adversarial.r1_penalty(logits, real)
        return penalty * (s.r1_gamma / 2 * s.r1_every)

    def _path_penalty(self, real: Tensor, draws: Draws) -> Tensor:
        s = self.settings
        half = max(1, len(draws.z) // 2)
        ws = self._styles(draws)[:half]
        images = self.generator.synthesis(ws, [noise[:half] for noise in draws.noise])
        random = torch.Generator(self.device).manual_seed(s.seed ^ self.images_shown)
        directions = torch.randn(images.shape, generator=random, device=self.device)
        lengths = adversarial.path_lengths(images, ws, directions)
        self.path_mean = torch.lerp(self.path_mean, self.mean_over_processes(lengths.detach().mean()), PATH_DECAY)
        return (lengths - self.path_mean).square().mean() * (s.path_weight * s.path_every)

    def _styles(self, draws: Draws) -> Tensor:
        """w for each layer, (B, layers, w_dim), with style mixing (Karras et al. 2019)."""
        coarse, fine = self.generator.mapping(draws.z.flatten(0, 1)).unflatten(0, (-1, 2)).unsqueeze(2).unbind(1)
        layers = torch.arange(self.generator.layers, device=self.device)
        return torch.where((layers < draws.crossing[:, None]).unsqueeze(2), coarse, fine)

    def draw(self, samples: Sequence[int]) -> Draws:
        """What is random about these samples; each has its own stream, so that it does not matter who draws it."""
        s = self.settings
        sizes = self.generator.noise_sizes
        areas = [r * r for r in sizes]
        random = torch.Generator(self.device)
        normal: list[Tensor] = []
        uniform: list[Tensor] = []
        for sample in samples:
            random.manual_seed(int(np.random.default_rng((s.seed, sample, 4)).integers(2**63)))
            normal.append(torch.randn(2 * s.z_dim + sum(areas), generator=random, device=self.device))
            uniform.append(torch.rand(2 * DRAWS + 2, generator=random, device=self.device))
        z, *noise = torch.stack(normal).split([2 * s.z_dim, *areas], dim=1)
        maps = [n.view(-1, 1, r, r) for n, r in zip(noise, sizes, strict=True)]
        augment, choice = torch.stack(uniform).split([2 * DRAWS, 2], dim=1)
        layers = self.generator.layers
        place = 1 + (choice[:, 0] * (layers - 1)).long()
        crossing = torch.where(choice[:, 1] < s.mixing, place, layers)
        return Draws(z.unflatten(1, (2, -1)), crossing, maps, augment.unflatten(1, (2, DRAWS)).transpose(0, 1))

    def data_record(self) -> dict[str, Any]:
        """The folder, how many images, and their size as cached."""
        return {"images": self.frames.summary()}

    def extra_state(self) -> dict[str, Any]:
        """The running mean of path lengths, and the last penalties for the record."""
        return {"path_mean": self.path_mean, "penalties": self.penalties}

    def load_extra_state(self, state: Any) -> None:
        """Take it back."""
        self.path_mean = state["path_mean"].to(self.device)
        self.penalties = {name: value.to(self.device) for name, value in state["penalties"].items()}

    @torch.no_grad()
    def sample_grid(self) -> NDArray[np.uint8]:
        """The same latents each time, 8 a row."""
        sheet = make_grid(to_uint8(self._make(range(SAMPLES))), nrow=8, padding=2, pad_value=255)
        return sheet.permute(1, 2, 0).cpu().numpy()

    def _make(self, seeds: Sequence[int]) -> Tensor:
        with self.accelerator.autocast():
            return self.generator(latents(seeds, self.settings.z_dim).to(self.device))

    @property
    def measure_every(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As set."""
        return self.settings.distance_every if self.settings.distance_images else 0

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Fréchet and kernel distance of images from the averaged weights to the folder."""
        if self._reference is None:
            self._reference = Population(load_features(self.settings.distance_features).to(self.device))
            for indices in batched(range(len(self.frames)), MEASURED):
                self._reference.add(torch.stack([self.data.image(i) for i in indices]).permute(0, 2, 3, 1))
        made = Population(self._reference.network)
        for seeds in batched(range(self.settings.distance_images), MEASURED):
            made.add(to_uint8(self._make(seeds)).permute(0, 2, 3, 1))
        distance = made.distance(self._reference)
        return {"frechet": distance.frechet, "kernel": distance.kernel}


def batched(items: Sequence[int], size: int) -> list[Sequence[int]]:
    """Consecutive parts of `items`, of at most `size`."""
    return [items[i : i + size] for i in range(0, len(items), size)]


def make_generator(s: StyleGAN2Settings) -> StyleGAN2Generator:
    """A generator of the settings' shape."""
    channels = config_f_channels(s.size, s.channel_multiplier, s.channel_max)
    if min(channels) < 1:
        raise BadSetting(f"channel_multiplier: {s.channel_multiplier:g} leaves no channel at {s.size} pixels.")
    return StyleGAN2Generator(channels, s.z_dim, s.z_dim, s.mapping_layers)


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """One z a seed, (len(seeds), z_dim), the same on every machine."""
    return torch.stack([torch.randn(z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
