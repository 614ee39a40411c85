"""A small generator and small folders of pictures: small, but real networks and files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gen.stylegan2.networks import StyleGAN2Generator


def tiny_generator(seed: int = 0) -> StyleGAN2Generator:
    torch.manual_seed(seed)
    generator = StyleGAN2Generator((16, 16, 16, 8), z_dim=16, w_dim=16, mapping_layers=2).eval()
    with torch.no_grad():
        generator.w_average.copy_(generator.mapping(torch.randn(500, 16)).mean(0))
        for conv in generator.convs:
            conv.noise_strength.fill_(0.1)
    return generator


@pytest.fixture
def generator() -> StyleGAN2Generator:
    return tiny_generator()


def write_pictures(folder: Path, count: int, tint: tuple[int, int, int], seed: int = 0, size: int = 48) -> Path:
    """Pictures of a few boxes on a background of this colour."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        picture = np.full((size, size + 8, 3), tint, np.uint8)
        for _ in range(4):
            top, left = rng.integers(0, size - 12, 2)
            picture[top : top + 10, left : left + 10] = rng.integers(0, 255, 3)
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder
