"""Seeds and numbers that data sets and training runs on disk depend on. The values are those of version 0.1.0."""

import numpy as np
import pytest

from gen.smd.dataset import level
from gen.smd.names import SCENES
from gen.smd.styles import STYLES
from gen.smos.scenes import SceneStream

OLD_STYLES = ("8bit", "16bit", "lowpoly", "hd")


def test_styles_keep_their_numbers():
    assert tuple(STYLES)[:4] == OLD_STYLES
    assert [STYLES[name].number for name in OLD_STYLES] == [0, 1, 2, 3]
    assert SCENES == ("grassland", "cave", "underwater", "fortress", "sky", "snow", "desert", "haunted")


@pytest.mark.parametrize(
    ("scene", "index", "seed", "ground"),
    [
        ("cave", 7, 60000015, (4, 3, 2, 2, 2, 2, None, None, None, None, 2, 2, 3, 3, 3, 3)),
        ("sky", 12345, 60024691, (6, 6, 6, 6, None, None, None, None, 6, 6, 6, 6, None, None, None, None)),
        ("haunted", 2, 60000005, (4, 3, 3, None, None, None, 4, 4, 4, 4, 4, 4, 4, 4, 3, 4)),
    ],
)
def test_levels_are_what_they_were(scene, index, seed, ground):
    """Ground is made of whole numbers: unlike pixels, it is the same on every machine."""
    world = level(scene, 3, "val", index)
    assert world.seed == seed
    assert world.ground[:16] == ground


def test_a_training_stream_is_what_it_was():
    """The arithmetic of version 0.1.0, written out."""
    samples, old = [0, 1, 999_999, 400_000], []
    for style in range(4):
        for n in samples:
            scene = int(np.random.default_rng((5, style, n)).integers(8))
            old.append((style * 8 + scene) * 1_000_000 + (style * 1_000_000 // 4 + n) % 1_000_000)
    assert SceneStream(32, 5, 0).indices(samples) == old
    assert old[:6] == [5000000, 7000001, 999999, 5400000, 9250000, 15250001]
