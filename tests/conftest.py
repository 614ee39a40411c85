"""What the tests share: small real pictures, small real networks, and the data folder where there is one."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from numpy.typing import NDArray
from PIL import Image

# A time limit for each example fails by chance where the processor is shared; pytest-timeout limits whole tests.
settings.register_profile("gen", deadline=None)
settings.load_profile("gen")

# Graphs and measured speeds of tiny models do not belong into the cache of whoever runs the tests.
CACHE = tempfile.TemporaryDirectory(prefix="gen-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("GEN_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


@pytest.fixture
def shared_data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}; set GEN_SHARED_DATA to its folder")
    return DATA


@pytest.fixture(scope="session")
def gen_command() -> list[str]:
    """The command line as a person starts it."""
    return [str(Path(sys.executable).parent / "gen")]


def street(rng: np.random.Generator, height: int, width: int, night: bool) -> NDArray[np.uint8]:
    """A picture with a sky, a road and some cars: bright, or dark with lamps."""
    picture = np.zeros((height, width, 3))
    horizon = height * 2 // 5
    picture[:horizon] = (10, 12, 25) if night else (150, 190, 235)
    picture[horizon:] = (25, 25, 24) if night else (110, 110, 108)
    for _ in range(5):
        top, left = rng.integers(horizon, height - 4), rng.integers(0, width - 8)
        colour = rng.integers(0, 60 if night else 255, 3)
        picture[top : top + rng.integers(3, 14), left : left + rng.integers(6, 24)] = colour
        if night:
            picture[top : top + 2, left : left + 2] = (255, 230, 170)
    noise = rng.normal(0, 3, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_streets(folder: Path, count: int, night: bool, height: int = 80, width: int = 128) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(night)
    for i in range(count):
        Image.fromarray(street(rng, height, width, night)).save(folder / f"{i:03d}.png")
    return folder


@pytest.fixture
def two_domains(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of twelve night and ten day pictures."""
    return write_streets(tmp_path / "night", 12, True), write_streets(tmp_path / "day", 10, False)


# Threads cost networks this small more than they bring, and the tests run two at a time.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)
