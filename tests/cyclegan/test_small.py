"""Pictures of a few pixels."""

import pytest
import torch

from gen.cyclegan.method import CycleGANPipeline, ResNetGenerator


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 50), (50, 3), (5, 9)])
@pytest.mark.parametrize("tile", [None, 1])
def test_any_size_is_translated(size, tile):
    pipeline = CycleGANPipeline(ResNetGenerator(width=2, blocks=1), None)
    small = torch.zeros(1, 3, *size)
    with torch.no_grad():
        translated, _ = pipeline.run_network(small, "adverse_to_normal", tile, size, False)
    assert translated.shape == small.shape
