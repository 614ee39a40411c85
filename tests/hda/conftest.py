"""A model folder of a tiny generator, and two domains of reference images."""

from pathlib import Path

import pytest

from gen.hda.pipeline import HDAPipeline
from gen.stylegan2.networks import StyleGAN2Generator
from tests.stylegan2.conftest import tiny_generator, write_pictures


@pytest.fixture
def generator() -> StyleGAN2Generator:
    return tiny_generator()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    HDAPipeline(tiny_generator()).save_pretrained(folder)
    return folder


@pytest.fixture
def red(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "red", 4, (220, 40, 40), seed=1)


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "blue", 4, (30, 60, 230), seed=2)
