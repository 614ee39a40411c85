"""Rows of rendering, of measuring domains, and of the features that distances are measured by."""

import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.rows import Row, copies
from gen.media.folders import find_stills
from gen.metrics.distances import Population, read_batches
from gen.metrics.features import SqueezeNetFeatures
from gen.shift.representations import SIDE, read_histograms
from gen.smd.dataset import Levels
from gen.smd.rendering import render_smd
from gen.smd.settings import RenderSettings
from gen.smd.styles import STYLES

PER_CLASS = 4
FILES, MANY = 1_000, 100_000
BATCH = 50


def reading() -> Iterator[Row]:
    """Seconds a picture."""
    root = Path(tempfile.mkdtemp())
    try:
        yield rendering(root)
        frames = copies(root / "frames", FILES, (256, 256))
        yield from histograms(root, frames)
        yield features(frames)
    finally:
        shutil.rmtree(root)


def rendering(root: Path) -> Row:
    """All styles and scenes, 224x224, to JPEG."""
    settings = RenderSettings(root / "scenes", per_class=PER_CLASS)
    theirs = timed(lambda: one_by_one(settings))
    ours = timed(lambda: render_smd(settings))
    count = len(find_stills(settings.out))
    what = "the same renderer, one picture after another in one process"
    return Row(
        "a game scene of 224x224, all styles, start of the processes included", ours / count, theirs / count, what
    )


def one_by_one(settings: RenderSettings) -> None:
    """The pictures of `render_smd`, without its processes."""
    levels, file = Levels(settings.seed, size=settings.size), settings.out.with_suffix(".jpg")
    for style in STYLES.values():
        for scene in settings.scenes:
            for number in range(settings.per_class):
                (picture,) = levels.pictures(scene, style, [number])
                Image.fromarray(picture).save(file, quality=settings.quality)


def histograms(root: Path, frames: list[Path]) -> Iterator[Row]:
    """`gen measure-shift` reads them so: first without its cache, then very many files."""
    (root / "cache").mkdir()
    theirs = timed(lambda: [luma(file) for file in frames]) / FILES
    ours = timed(lambda: read_histograms(frames[0].parent, frames, "luma256", root / "cache")) / FILES
    yield Row(f"luma histogram of a JPEG of 256x256, {FILES:,} files", ours, theirs, "PIL and numpy, one after another")
    many = root / "many"
    many.mkdir()
    links = [many / f"{number:06d}.jpg" for number in range(MANY)]
    for number, link in enumerate(links):
        link.hardlink_to(frames[number % FILES])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    all_of_them = timed(lambda: read_histograms(many, links, "luma256", root / "cache")) / MANY
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    yield Row(f"the same, {MANY:,} files, {more:.0f} MB more memory", all_of_them, ours, f"a file of {FILES:,}", 0.8)
    shutil.rmtree(many)


def luma(file: Path) -> np.ndarray:
    """The usual way."""
    picture = Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("L")
    return np.histogram(np.asarray(picture), bins=256, range=(0, 256))[0]


@torch.no_grad()
def features(frames: list[Path]) -> Row:
    """What Fréchet and kernel distance take the longest for."""
    network = SqueezeNetFeatures()
    network(torch.zeros(4, 3, 256, 256, dtype=torch.uint8))

    def plain() -> None:
        for first in range(0, len(frames), BATCH):
            pictures = [np.asarray(Image.open(file).convert("RGB")) for file in frames[first : first + BATCH]]
            network(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))

    theirs = timed(plain) / len(frames)
    ours = timed(lambda: Population(network).add_all(read_batches(frames))) / len(frames)
    what = f"PIL, one after another, and batches of {BATCH} (pytorch-fid)"
    return Row("SqueezeNet features of a JPEG of 256x256", ours, theirs, what)


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
