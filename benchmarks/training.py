"""Rows of training: a step of AU-GAN against the step as the original does it, with the same networks and losses."""

import gc
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.rows import Row, copies
from gen.augan.generator_losses import generator_losses
from gen.augan.generator_pair import GeneratorPair
from gen.augan.networks import DiscriminatorSet
from gen.augan.settings import AUGANSettings, published_discriminators
from gen.augan.start import choose_settings
from gen.augan.training import RECONSTRUCTION_NOISE, AUGANTrainer
from gen.translation import losses
from gen.translation.norm import InstanceNorm

PRESET = "small"
WARM_UP, STEPS = 3, 12


def steps() -> Iterator[Row]:
    """A step of preset small, not compiled: the published design at width 24, crop 192x112, batch 1."""
    root = Path(tempfile.mkdtemp())
    try:
        adverse, normal = (copies(root / name, 24, (640, 360)) for name in ("adverse", "normal"))
        given = {"adverse": adverse[0].parent, "normal": normal[0].parent, "out": root / "run"}
        settings = choose_settings(
            PRESET, given | {"log_every": 10**6, "sample_every": 10**6, "warm_up": 0, "compile": False}
        )
        plain = PlainStep(settings, adverse, normal)
        theirs = seconds(plain)
        del plain
        gc.collect()
        ours = seconds(AUGANTrainer(settings).train_one_step)
        yield Row(f"AU-GAN step, preset {PRESET}, not compiled", ours, theirs, PlainStep.__doc__ or "", 1.5)
    finally:
        shutil.rmtree(root)


def seconds(step: Callable[[], object], steps: int = STEPS, warm_up: int = WARM_UP) -> float:
    """Of a step, the median of `steps` after some to warm up."""
    times: list[float] = []
    for _ in range(warm_up + steps):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return float(np.median(times[warm_up:]))


class PlainStep:
    """the same networks as the original: fp32, PIL loader, plain norms, real and fake passes apart, unfused Adam"""

    def __init__(self, settings: AUGANSettings, adverse: list[Path], normal: list[Path]) -> None:
        self.settings, self.files, self.random = settings, (adverse, normal), np.random.default_rng(0)
        self.generators = with_plain_norms(GeneratorPair(settings))
        self.discriminators = DiscriminatorSet(settings.discriminator_width, count=published_discriminators(settings))
        with_plain_norms(self.discriminators)
        self.optimizers = [
            torch.optim.Adam(network.parameters(), settings.lr, (0.5, 0.999), foreach=False, fused=False)
            for network in (self.generators, self.discriminators)
        ]

    def __call__(self) -> None:
        """One update of the generators, then one of the discriminators."""
        a, b = (self.load(files) for files in self.files)
        noise = [torch.randn(2, *self.features(a).shape) * RECONSTRUCTION_NOISE for _ in range(2)]
        out = self.generators(a, b, (noise[0], noise[1]))
        fake = self.discriminators(out.fake_a, out.fake_b)
        terms = generator_losses(out, a, b, [pair[0] for pair in fake], [pair[1] for pair in fake], self.settings)
        self.update(0, sum(terms.values()))
        fake_a, fake_b = out.fake_a.detach(), out.fake_b.detach()
        real, fake = self.discriminators(a, b), self.discriminators(fake_a, fake_b)
        sides = ([[pair[side] for pair in kind] for kind in (real, fake)] for side in (0, 1))
        self.update(1, sum(losses.adversarial_discriminator(*side) for side in sides))

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """For their shape."""
        if not hasattr(self, "_features"):
            self._features = self.generators.b2a(image).features
        return self._features

    def update(self, which: int, loss: Tensor) -> None:
        """One step of an optimiser."""
        self.optimizers[which].zero_grad()
        loss.backward()
        self.optimizers[which].step()

    def load(self, files: list[Path]) -> Tensor:
        """A random crop of a random frame, (1, 3, H, W) in [-1, 1]."""
        image = Image.open(files[self.random.integers(len(files))]).convert("RGB")
        rows = self.settings.load_height
        image = image.resize((round(image.width * rows / image.height), rows), Image.Resampling.BICUBIC)
        height, width = self.settings.crop
        top, left = (self.random.integers(n + 1) for n in (image.height - height, image.width - width))
        crop = np.asarray(image.crop((left, top, left + width, top + height)), dtype=np.float32)
        return torch.from_numpy(crop / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def with_plain_norms(network: nn.Module) -> nn.Module:
    """`network` with torch's own instance norms."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, InstanceNorm):
                setattr(parent, name, nn.InstanceNorm2d(child.channels, affine=child.weight is not None))
    return network
