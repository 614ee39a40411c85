"""Degradations: each does what its equation says, and nothing when it is told to do nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kornia.color import rgb_to_linear_rgb, rgb_to_ycbcr

from gen.augan.degrade import (
    Degradation,
    compress,
    crush_blacks,
    degrade,
    degrade_at_random,
    sensor_noise,
    smooth,
)

NOTHING = Degradation(
    stops=0, gain=0, shot=0, read=0, blur=0, chroma_blur=0, black=0, floor=0, quality=95
)  # fmt: skip


def soft_picture() -> torch.Tensor:
    """Slow gradients, (3, 64, 96) in [-0.6, 0.6]: JPEG keeps them."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
    return 0.6 * torch.stack([x, y, (x + y) / 2])


@pytest.mark.parametrize(("shot", "read"), [(1e-3, 0.0), (0.0, 2e-3), (1e-3, 1e-2)])
@pytest.mark.parametrize("light", [0.0, 0.05, 0.6])
def test_noise_has_the_variance_of_photons_and_electronics(shot, read, light):
    noisy = sensor_noise(torch.full((3, 300, 300), light), shot, read, seed=3)
    expected = shot * light + read**2
    assert noisy.double().var().item() == pytest.approx(expected, rel=0.02, abs=1e-12)
    assert noisy.double().mean().item() == pytest.approx(light, abs=4 * (expected / 270_000) ** 0.5 + 1e-7)


def test_noise_is_a_function_of_its_seed():
    light = torch.full((3, 8, 8), 0.5)
    first, again, other = (sensor_noise(light, 1e-3, 1e-3, seed) for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first != other).all()


def test_blacks_are_crushed_and_white_stays():
    curve = crush_blacks(torch.linspace(0, 1, 256), black=32 / 255, floor=6 / 255) * 255
    assert curve[:32].max() < 6
    assert curve[32].item() == pytest.approx(6, abs=1e-4)
    assert (curve.diff() > 0).all()
    assert (curve[0].item(), curve[255].item()) == (0, pytest.approx(255))
    # Blacks are never lifted: a floor above the threshold leaves the picture as it is.
    torch.testing.assert_close(crush_blacks(torch.linspace(0, 1, 9), 3 / 255, 8 / 255), torch.linspace(0, 1, 9))


def test_chroma_noise_goes_and_luma_stays():
    noisy = 0.5 + 0.05 * torch.randn(3, 64, 64)
    before, after = rgb_to_ycbcr(noisy), rgb_to_ycbcr(smooth(noisy, blur=0, chroma_blur=2))
    torch.testing.assert_close(after[0], before[0], atol=2e-3, rtol=0)
    assert after[1:].std() < 0.25 * before[1:].std()


def test_nothing_is_done_when_nothing_is_asked():
    picture = soft_picture()
    assert (degrade(picture, NOTHING, seed=0) - picture).abs().mean() < 1.5 / 127.5


def test_a_stop_is_half_of_the_light_and_gain_gives_it_back_with_noise():
    def light(image):
        return rgb_to_linear_rgb((image + 1) / 2).mean().item()

    picture = soft_picture()
    dimmed = degrade(picture, replace(NOTHING, stops=1), seed=0)
    assert light(dimmed) == pytest.approx(light(picture) / 2, rel=0.02)
    restored = degrade(picture, replace(NOTHING, stops=3, gain=1), seed=0)
    assert light(restored) == pytest.approx(light(picture), rel=0.02)
    noisy = replace(NOTHING, stops=3, gain=1, shot=1e-3)
    error = [(degrade(picture, n, seed=0) - picture).std().item() for n in (replace(noisy, stops=0), noisy)]
    assert error[1] > 2 * error[0]


def test_less_quality_is_more_loss():
    picture = torch.rand(3, 64, 64) * 2 - 1
    loss = [(compress(picture, quality) - picture).abs().mean().item() for quality in (95, 60, 20)]
    assert loss == sorted(loss)
    assert compress(picture, 20).shape == picture.shape
    assert compress(picture, 20).abs().max() <= 1


def test_random_degradations_repeat_stay_in_range_and_spare_some():
    picture = soft_picture()
    torch.testing.assert_close(degrade_at_random(picture, 5, 0.0), degrade_at_random(picture, 5, 0.0), rtol=0, atol=0)
    found = [degrade_at_random(picture, seed, spared=0.5) for seed in range(60)]
    assert all(f.shape == picture.shape and f.abs().max() <= 1 for f in found)
    spared = sum(f is picture for f in found)
    assert 15 < spared < 45
    assert degrade_at_random(picture, 0, spared=1.0) is picture


def test_drawn_settings_are_spread_over_their_ranges():
    drawn = [Degradation.draw(np.random.default_rng(seed)) for seed in range(300)]
    for name, low, high in (("stops", 0, 3), ("gain", 0, 0.8), ("black", 0, 40), ("floor", 0, 8), ("quality", 40, 95)):
        values = [getattr(d, name) for d in drawn]
        assert low <= min(values) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values) <= high
