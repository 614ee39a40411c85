"""The frame itself as the ground of its translation."""

import math

import pytest
import torch

from gen.augan.exposure import ExposureCurve, compose
from gen.augan.networks import AUGANGenerator


@pytest.mark.parametrize("strength", [0.01, 5.0, 30.0])
def test_the_curve_and_its_inverse_undo_each_other(strength: float) -> None:
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    bright, dark = ExposureCurve(strength), ExposureCurve(-strength)
    torch.testing.assert_close(dark(bright(x)), x, atol=1e-4, rtol=1e-4)
    assert (bright(x) >= x - 1e-4).all()
    assert bright(torch.tensor([-1.0, 1.0])).tolist() == pytest.approx([-1, 1], abs=1e-5)


def test_the_curve_is_its_equation() -> None:
    grey = torch.tensor([[[[0.2]]]])
    expected = math.log(1 + 30 * 0.2) / math.log(31)
    assert (ExposureCurve(30)(2 * grey - 1).item() + 1) / 2 == pytest.approx(expected, rel=1e-5)


def test_no_gain_and_no_offset_leave_the_ground() -> None:
    ground = torch.rand(1, 3, 4, 4) * 2 - 1
    torch.testing.assert_close(compose(ground, torch.zeros(1, 6, 4, 4)), ground)


def test_gain_and_offset_place_by_place() -> None:
    ground, maps = torch.rand(2, 3, 4, 4), torch.randn(2, 6, 4, 4)
    expected = ground * (1 + maps[:, :3]) + maps[:, 3:]
    torch.testing.assert_close(compose(ground, maps), expected)


def test_gradients_stay_finite_in_black_and_white() -> None:
    image = torch.cat([torch.full((1, 3, 4, 4), v) for v in (-1.0, 1.0)]).requires_grad_()
    maps = torch.zeros(2, 6, 4, 4, requires_grad=True)
    for strength in (30.0, -30.0):
        compose(ExposureCurve(strength)(image), maps).sum().backward()
    assert image.grad.isfinite().all()
    assert maps.grad.isfinite().all()
    assert (maps.grad[:, 3:] == 2).all()  # nowhere less than elsewhere


@pytest.mark.parametrize("design", ["published", "light"])
def test_a_new_generator_brightens(design: str) -> None:
    """What it paints is nearly the frame under the curve, so that structure is there from the first step."""
    image = torch.rand(1, 3, 64, 96) * 0.3 - 1
    generator = AUGANGenerator(8, 1, 1, design=design, exposure=30.0)
    with torch.no_grad():
        found, ground = generator(image).image, generator.curve(image)
    assert (found - ground).abs().mean() < 0.1
    assert found.mean() > image.mean() + 0.4
