from itertools import pairwise

import pytest
import torch

from gen.metrics.paired import load_perceptual
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.projector import noise_regularity, project, ramp, w_statistics


@pytest.mark.parametrize("extended", [False, True])
def test_finds_a_picture_that_the_generator_drew(generator: StyleGAN2Generator, extended: bool) -> None:
    torch.manual_seed(1)
    with torch.no_grad():
        picture = generator(torch.randn(1, 16)).clamp(-1, 1)
        start = generator.synthesis(w_statistics(generator)[0][:, 0])
    generator.requires_grad_(False)
    distances: list[float] = []
    w = project(generator, picture, load_perceptual(), steps=40, extended=extended, progress=distances.append)
    assert w.shape == ((1, generator.layers, 16) if extended else (1, 16))
    assert len(distances) == 40
    with torch.no_grad():
        found = generator.synthesis(w)
    assert (found - picture).square().mean() < 0.5 * (start - picture).square().mean()


def test_learning_rate_rises_and_falls() -> None:
    rates = [ramp(t / 100) for t in range(101)]
    assert rates[0] < 0.01
    assert rates[5:75] == pytest.approx([1.0] * 70)
    assert rates[-1] == pytest.approx(0)
    assert all(a >= b for a, b in pairwise(rates[75:]))


def test_noise_regularity_separates_noise_from_an_image() -> None:
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 32, 32, generator=random)
    smooth = torch.nn.functional.interpolate(noise[:, :, :4, :4], (32, 32), mode="bilinear")
    smooth = (smooth - smooth.mean()) / smooth.std()
    assert noise_regularity(smooth) > 100 * noise_regularity(noise)


def test_statistics_of_w(generator: StyleGAN2Generator) -> None:
    mean, spread = w_statistics(generator)
    assert mean.shape == (1, 1, 16)
    w = generator.mapping(torch.randn(20_000, 16))
    torch.testing.assert_close(mean[0, 0], w.mean(0), atol=0.05, rtol=0)
    assert spread == pytest.approx(float(w.var(0).sum().sqrt()), rel=0.05)  # the published projector's sum over axes
