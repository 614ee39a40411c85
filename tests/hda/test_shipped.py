"""The generator in weights/, and an adaptation of it to two domains at once."""

from pathlib import Path

import pytest
import torch

from gen.hda.attributes import attribute_progress, brightness
from gen.hda.evaluation import draw_images
from gen.hda.export import save_adaptation
from gen.hda.pipeline import HDAPipeline
from gen.hda.references import load_references
from gen.hda.settings import HDASettings
from gen.hda.training import HDATrainer
from gen.metrics.edges import load_edges, structure_consistency

MODEL = "stylegan2-faces64"


@pytest.fixture
def pipe() -> HDAPipeline:
    return HDAPipeline.from_pretrained(MODEL)


def test_draws_varied_pictures_in_range(pipe: HDAPipeline) -> None:
    assert pipe.generator.size == 64
    images = draw_images(pipe, pipe.latents(range(32), truncation=1.0))
    assert 60 < float(brightness(images).mean()) < 160
    assert float(images.std(0).mean()) > 0.2  # faces differ
    truncated = draw_images(pipe, pipe.latents(range(32), truncation=0.3))
    assert truncated.std(0).mean() < images.std(0).mean()


@pytest.mark.slow
def test_a_hybrid_carries_both_attributes(pipe: HDAPipeline, shared_data: Path, tmp_path: Path) -> None:
    """Sketch and sunglasses, ten images each, measured without any encoder."""
    faces = shared_data / "faces"
    settings = HDASettings(
        source=MODEL, domains=(f"sketch={faces / 'sketches'}", f"sunglasses={faces / 'sunglasses'}"), out=tmp_path
    )
    trainer = HDATrainer(settings, pipe.generator)
    trainer.fit()
    assert min(trainer.progress.values()) > 0.1
    pipe = HDAPipeline.from_pretrained(MODEL)
    latents = pipe.latents(range(5000, 5064), truncation=0.7)
    before = draw_images(pipe, latents)
    pipe.load_adaptation(save_adaptation(trainer))
    after = draw_images(pipe, latents)

    found = {
        name: attribute_progress(before, after, load_references(faces / name, 64).images)
        for name in ("sketches", "sunglasses")
    }
    assert found["sunglasses"]["eye darkness"] > 0.3
    assert found["sketches"]["brightness"] > 0.2
    assert found["sketches"]["colourfulness"] > 0.2
    # And the faces are still different ones, each like the one it was.
    assert after.std(0).mean() > 0.4 * before.std(0).mean()
    edges = load_edges()
    with torch.no_grad():
        assert structure_consistency(edges(before), edges(after)).mean() > 0.6
