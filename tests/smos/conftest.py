from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"art": (200, 80, 40), "flat": (60, 200, 60), "ink": (230, 230, 230)}


def write_domains(root: Path, count: int = 10, size: int = 32, seed: int = 0) -> Path:
    """Two classes, discs and bars, in three looks."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    for domain, colour in COLOURS.items():
        for label in ("bar", "disc"):
            folder = root / domain / label
            folder.mkdir(parents=True)
            for n in range(count):
                y, x = rng.integers(8, size - 8, 2)
                inside = abs(columns - x) < 3 if label == "bar" else (rows - y) ** 2 + (columns - x) ** 2 < 49
                picture = rng.normal(30, 8, (size, size, 3))
                picture[inside] = colour + rng.normal(0, 8, (int(inside.sum()), 3))
                Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{n:03d}.png")
    return root


@pytest.fixture(scope="session")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_domains(tmp_path_factory.mktemp("domains") / "shapes")
