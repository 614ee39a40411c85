"""A small MobileStyleGAN, and the wheel with the published one."""

import importlib.util
import zipfile
from pathlib import Path

import pytest
import torch

from gen.mobilestylegan.networks import MobileStyleGANGenerator, Modulation, StyledConv


def tiny_mobile(channels: tuple[int, ...] = (16, 16, 8, 8)) -> MobileStyleGANGenerator:
    """64 pixels, random weights and noise; the contrast is about that of a photo."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        generator = MobileStyleGANGenerator(channels, 12, 16, 2).eval()
        for module in generator.modules():
            if isinstance(module, Modulation):  # without demodulation, the styles of random weights get out of hand
                module.affine.weight.mul_(0.3)
            if isinstance(module, StyledConv):
                module.noise_strength.fill_(0.1)
        generator.to_image.conv.weight.mul_(0.5 / generator(torch.randn(64, 12)).std())
        return generator


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published network, as the wheel has it."""
    spec = importlib.util.find_spec("random_face")
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps random-face brings the generator of this test")
    data = Path(spec.origin).parent / "data"
    path = tmp_path_factory.mktemp("wheel") / "random_face-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(data.iterdir()):
            archive.write(file, f"random_face/data/{file.name}")
    return path
