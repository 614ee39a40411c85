"""Rows of scale: what a file and a pixel cost in large folders and large frames, without a network."""

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.rows import Identity, Row, copies
from gen.translation.batch import translate
from gen.translation.settings import TranslateSettings

FILES = (100, 2_000, 20_000)
SIZES = ((640, 360), (1280, 720), (1920, 1080), (3840, 2160))


def scale() -> Iterator[Row]:
    """Seconds a file in folders of many small files, seconds a megapixel for larger frames, and a finished run."""
    yield from folders()
    yield from sizes()


def folders() -> Iterator[Row]:
    """64x36 frames: the same few files, linked under many names."""
    first: float | None = None
    for count in FILES:
        root = Path(tempfile.mkdtemp())
        try:
            frames = copies(root / "frames", 12, (64, 36))
            source = root / "in"
            source.mkdir()
            for number in range(count):
                (source / f"{number:05d}.jpg").hardlink_to(frames[number % len(frames)])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            mine = run(source, root / "out") / count
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            first = first or mine
            name = f"a file in a folder of {count:,} frames of 64x36, without a network, {more:.0f} MB more memory"
            yield Row(name, mine, first, f"a file in a folder of {FILES[0]}", None if count == FILES[0] else 0.8)
            again = run(source, root / "out")
        finally:
            shutil.rmtree(root)
    yield Row(f"start and end of a finished run of {FILES[-1]:,} files", again, mine * FILES[-1], "the run")


def sizes() -> Iterator[Row]:
    """JPEG to JPEG."""
    first: float | None = None
    for width, height in SIZES:
        root = Path(tempfile.mkdtemp())
        try:
            copies(root / "in", 24, (width, height))
            mine = run(root / "in", root / "out") / 24 / (width * height / 1e6)
            first = first or mine
            goal = None if (width, height) == SIZES[0] else 0.8
            yield Row(f"a megapixel of {width}x{height}, without a network", mine, first, "one of 640x360", goal)
        finally:
            shutil.rmtree(root)


def run(source: Path, out: Path) -> float:
    """Seconds of `gen translate` with the identity."""
    began = time.perf_counter()
    translate(TranslateSettings(source, out, model="augan-night2day"), lambda settings: Identity())
    return time.perf_counter() - began
