import numpy as np
import pytest
import torch

from gen.mobilestylegan.networks import MobileStyleGANGenerator, haar, haar_inverse
from tests.mobilestylegan.conftest import tiny_mobile


def test_the_wavelet_against_its_filters() -> None:
    """The transform of one channel, row by row of the equation: sums and differences of two by two pixels."""
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64)
    found = haar(x)
    for batch, channel, row, column in np.ndindex(2, 3, 3, 2):
        block = x[batch, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        signs = {"average": [[1, 1], [1, 1]], "vertical": [[1, 1], [-1, -1]], "horizontal": [[1, -1], [1, -1]]}
        signs["diagonal"] = [[1, -1], [-1, 1]]
        wanted = [float((block * torch.tensor(sign)).sum() / 2) for sign in signs.values()]
        places = [channel, *(3 + 3 * channel + k for k in range(3))]
        assert found[batch, places, row, column].tolist() == pytest.approx(wanted)
    torch.testing.assert_close(haar_inverse(found), x)
    assert float(found.square().sum()) == pytest.approx(float(x.square().sum()))


class TestGenerator:
    def test_shapes(self) -> None:
        generator = tiny_mobile()
        assert (generator.size, generator.layers, generator.noise_sizes) == (64, 8, [4, 8, 8, 16, 16, 32, 32])
        assert generator(torch.randn(3, 12)).shape == (3, 3, 64, 64)
        assert MobileStyleGANGenerator(**generator.settings()).size == 64

    def test_one_w_is_that_of_every_layer(self) -> None:
        generator, w = tiny_mobile(), torch.randn(2, 16)
        together = generator.synthesis(w)
        torch.testing.assert_close(generator.synthesis(w[:, None].repeat(1, generator.layers, 1)), together)
        for layer in range(generator.layers):  # and none is without effect
            ws = w[:, None].repeat(1, generator.layers, 1)
            ws[:, layer] += 1
            assert (generator.synthesis(ws) - together).abs().max() > 1e-4

    def test_noise(self) -> None:
        generator, w = tiny_mobile(), torch.randn(2, 16)
        fixed = generator.synthesis(w)
        torch.testing.assert_close(generator.synthesis(w, [conv.noise for conv in generator.convs]), fixed)
        assert not torch.equal(generator.synthesis(w, "none"), fixed)
        assert not torch.equal(generator.synthesis(w, "random"), fixed)

    def test_truncation(self) -> None:
        generator, z = tiny_mobile(), torch.randn(2, 12)
        generator.w_average.normal_()
        average = generator.synthesis(generator.w_average.expand(2, -1))
        torch.testing.assert_close(generator(z, truncation=0.0), average)
        torch.testing.assert_close(generator(z), generator.synthesis(generator.mapping(z)))
