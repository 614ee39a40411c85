"""Rows of training: steps of StyleGAN2, `gen adapt` and SMOS against the plain forms of the same steps."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision import transforms

from benchmarks.rows import Row, copies
from benchmarks.stylegan2 import grouped
from benchmarks.training import seconds
from gen.hda.pipeline import load_source
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.smos.backbones import Classifier, load_backbone
from gen.smos.settings import SMOSSettings
from gen.smos.training import SMOSTrainer
from gen.stylegan2.networks import ModulatedConv
from gen.stylegan2.settings import StyleGAN2Settings
from gen.stylegan2.training import StyleGAN2Trainer
from gen.training.loop import Trainer

QUIET: dict[str, Any] = {"log_every": 10**6, "sample_every": 10**6, "device": "cpu", "precision": "fp32"}
PLAIN: dict[str, Any] = {"channels_last": False, "compile": False}
DOMAINS, CLASSES = ("city", "forest", "sea"), ("day", "night")


def other_steps() -> Iterator[Row]:
    """One row a trainer, all in fp32 on the CPU."""
    root = Path(tempfile.mkdtemp())
    try:
        frames = copies(root / "frames", 24, (128, 128))
        yield stylegan2(root, frames[0].parent)
        yield adaptation(root, frames[:10])
        yield smos(root)
    finally:
        shutil.rmtree(root)


def stylegan2(root: Path, frames: Path) -> Row:
    """16 steps are one row, since one in 16 has the R1 penalty."""
    given = QUIET | {"data": frames, "warm_up": 0, "distance_images": 0, "images": 10**6, "batch": 8}
    with plain_convolutions():
        theirs = StyleGAN2Trainer(StyleGAN2Settings.from_preset("faces64", **given, **PLAIN, out=root / "plain"))
        unfuse(theirs)
        slow = seconds(times(16, theirs.train_one_step), 3, 1)
    ours = StyleGAN2Trainer(StyleGAN2Settings.from_preset("faces64", **given, out=root / "run"))
    fast = seconds(times(16, ours.train_one_step), 3, 1)
    name = f"StyleGAN2 step, preset faces64, {ours.settings.batch} images, with 1/16 of the R1 penalty"
    return Row(name, fast / 16, slow / 16, "one grouped convolution with a kernel an image (rosinality), unfused Adam")


def adaptation(root: Path, frames: list[Path]) -> Row:
    """The shipped generator to two domains of ten pictures, default settings."""
    for name in ("one", "two"):
        (root / name).mkdir()
        for file in frames:
            (root / name / file.name).hardlink_to(file)
    given: dict[str, Any] = {"source": "stylegan2-faces64", "domains": (f"one={root / 'one'}", f"two={root / 'two'}")}
    source = load_source("stylegan2-faces64").generator
    with plain_convolutions():
        theirs = HDATrainer(HDASettings(**QUIET, **PLAIN, **given, out=root / "hda-plain"), source)
        unfuse(theirs)
        slow = seconds(theirs.train_one_step)
    ours = HDATrainer(HDASettings(**QUIET, **given, out=root / "hda"), source)
    name = f"step of gen adapt, stylegan2-faces64, {ours.settings.batch} samples, two domains"
    what = "the same losses; one grouped convolution with a kernel a sample, unfused Adam"
    return Row(name, seconds(ours.train_one_step), slow, what)


def smos(root: Path) -> Row:
    """ERM, preset cpu, three domains of two classes."""
    data = root / "domains"
    for domain in DOMAINS:
        for kind in CLASSES:
            (data / domain).mkdir(parents=True, exist_ok=True)
            copies(data / domain / kind, 20, (227, 227))
    settings = SMOSSettings.from_preset("cpu", data=data, target=DOMAINS[-1], out=root / "smos", **QUIET)
    theirs = DomainBedStep(settings)
    slow = seconds(theirs, steps=6)
    ours = SMOSTrainer(settings)
    name = f"step of ERM, preset cpu, {settings.batch} images of each of {len(DOMAINS) - 1} domains"
    return Row(name, seconds(ours.train_one_step, steps=6), slow, DomainBedStep.__doc__ or "")


class DomainBedStep:
    """DomainBed's step with the same network: JPEG of 227x227, PIL, torchvision's transforms, unfused Adam"""

    def __init__(self, settings: SMOSSettings) -> None:
        self.settings, self.random = settings, np.random.default_rng(0)
        self.files = [sorted((settings.data / domain).rglob("*.jpg")) for domain in DOMAINS[:-1]]
        self.network = Classifier(settings.backbone, CLASSES, settings.size, 0.0, settings.frozen_norms)
        self.network.body.load_state_dict(load_backbone(settings.backbone, settings.weights).state_dict())
        self.network.train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), settings.lr, foreach=False, fused=False)
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(settings.size, scale=(0.7, 1.0)),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.3, 0.3, 0.3, 0.3),
                transforms.RandomGrayscale(),
                transforms.ToTensor(),
            ]
        )

    def __call__(self) -> None:
        """One update on a batch of each domain."""
        drawn = [files[self.random.integers(len(files))] for files in self.files for _ in range(self.settings.batch)]
        images = torch.stack([self.transform(Image.open(file).convert("RGB")) for file in drawn])
        labels = torch.tensor([CLASSES.index(file.parent.name) for file in drawn])
        loss = F.cross_entropy(self.network(images)[0], labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def times(count: int, step: Callable[[], object]) -> Callable[[], None]:
    """`count` steps as one."""

    def run() -> None:
        for _ in range(count):
            step()

    return run


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Within the block, a modulated convolution is one grouped convolution with a kernel an image."""
    scaled = ModulatedConv.convolve
    ModulatedConv.convolve = grouped
    try:
        yield
    finally:
        ModulatedConv.convolve = scaled


def unfuse(trainer: Trainer[Any]) -> None:
    """Optimisers that update one tensor after another."""
    for optimizer in trainer.optimizers.values():
        for group in optimizer.param_groups:
            group.update(fused=False, foreach=False)
