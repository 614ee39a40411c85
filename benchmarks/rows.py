"""What the rows of `python -m benchmarks` share."""

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from gen.translation.protocol import Capabilities

SAMPLES = Path(__file__).parent.parent / "samples" / "adverse"


class Row(NamedTuple):
    """One comparison."""

    name: str
    ours: float
    """Seconds."""
    theirs: float
    what: str
    """What theirs is."""
    goal: float | None = None
    """theirs / ours that is asked for."""


class Identity:
    """The frames themselves, as a `Translator`."""

    device = torch.device("cpu")
    capabilities = Capabilities({"adverse_to_normal": ()}, 1, (256, 512), 256)

    def shown_map(self, direction, which="auto"):
        """See `Translator`."""
        return None

    def translate_frames(self, frames, direction, **options):
        """See `Translator`."""
        return frames, None


def copies(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """`count` JPEG frames of `size` (width, height), from the rendered nights of samples/."""
    nights = sorted(SAMPLES.rglob("*.jpg"))
    folder.mkdir()
    files = [folder / f"{number:05d}.jpg" for number in range(count)]
    pictures = [Image.open(night).resize(size) for night in nights]
    for number, file in enumerate(files):
        pictures[number % len(pictures)].save(file, quality=95)
    return files
