"""Adaptive augmentation: each change alone against its definition, second gradients, and the rule for p."""

import math

import pytest
import torch
from torch import Tensor

from gen.stylegan2.ada import DRAWS, EVERY, GATES, IMAGES_TO_FULL, _Sampled, ada_augment, adjusted

OFF, ON = 0.9, 0.1
MIRROR, QUARTERS, WHOLE, SCALE, BEFORE, STRETCH, AFTER, MOVED, BRIGHT, CONTRAST, LUMA, HUE, SATURATION = range(GATES)
NAMES = ("mirror", "quarters", "x", "y", "scale", "before", "stretch", "after", "dx", "dy")
NAMES += ("bright", "contrast", "luma", "hue", "saturation")


def smooth(side: int = 32) -> Tensor:
    """A picture (1, 3, side, side) without fine detail."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    return torch.stack([torch.sin(2 * x + y), torch.cos(3 * y - x), x * y])[None] * 0.8


def changed(images: Tensor, *gates: int, **values: float) -> Tensor:
    """`images` with the changes `gates` alone; `values`: uniform random numbers by name."""
    draws = torch.full((1, DRAWS), OFF)
    draws[:, GATES:] = 0.5
    for gate in gates:
        draws[:, gate] = ON
    for name, value in values.items():
        draws[:, GATES + NAMES.index(name)] = value
    return ada_augment(images, draws.expand(len(images), -1), torch.tensor(0.5))


def test_no_change_is_the_identity() -> None:
    torch.testing.assert_close(changed(smooth()), smooth(), atol=1e-5, rtol=0)
    draws = torch.rand(4, DRAWS)
    torch.testing.assert_close(
        ada_augment(smooth().expand(4, -1, -1, -1), draws, torch.tensor(0.0)), smooth().expand(4, -1, -1, -1),
        atol=1e-5, rtol=0,
    )  # fmt: skip


def test_pixel_blitting_is_exact() -> None:
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(changed(x, MIRROR, mirror=0.2), x.flip(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(changed(x, MIRROR, mirror=0.7), x, atol=1e-5, rtol=0)
    for quarters in range(4):
        turned = changed(x, QUARTERS, quarters=(quarters + 0.5) / 4)
        assert any(torch.allclose(turned, x.rot90(k, (2, 3)), atol=1e-5) for k in (quarters, -quarters))
    moved = changed(x, WHOLE, x=1.0, y=0.5)  # by an eighth of the side
    torch.testing.assert_close(moved[..., :14], x[..., 2:], atol=1e-5, rtol=0)


def test_geometry() -> None:
    x, inner = smooth(), slice(8, 24)
    twice = changed(x, SCALE, scale=0.5 + 0.5 * math.erf(5 / math.sqrt(2)))  # 2^(0.2 * 5)
    coarse = torch.nn.functional.avg_pool2d(x, 2)
    torch.testing.assert_close(twice[..., inner, inner], coarse, atol=0.05, rtol=0)
    for gate, name in ((BEFORE, "before"), (AFTER, "after")):
        torch.testing.assert_close(changed(x, gate, **{name: 1.0}), x.flip(2, 3), atol=1e-4, rtol=0)  # half a turn
    there = changed(x, STRETCH, MOVED, stretch=0.8, dx=0.6, dy=0.3)
    assert (there - x).abs().mean() > 0.02


def test_colours() -> None:
    x = smooth()
    one = 0.5 + 0.5 * math.erf(1 / math.sqrt(2))  # the uniform number whose normal number is 1
    close = {"atol": 1e-4, "rtol": 0}
    torch.testing.assert_close(changed(x, BRIGHT, bright=one), x + 0.2, **close)
    torch.testing.assert_close(changed(x, CONTRAST, contrast=one), x * 2**0.5, **close)
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(changed(x, LUMA, luma=0.2), x - 2 * grey, **close)
    torch.testing.assert_close(changed(x, SATURATION, saturation=one), grey + 2 * (x - grey), **close)
    third = changed(x, HUE, hue=0.5 + 1 / 3)  # 120 degrees: red becomes green becomes blue
    assert any(torch.allclose(third, x.roll(k, 1), atol=1e-4) for k in (1, 2))


def test_changes_are_as_frequent_as_p_says() -> None:
    x = torch.rand(1, 3, 8, 8).expand(4000, -1, -1, -1)
    draws = torch.rand(4000, DRAWS, generator=torch.Generator().manual_seed(0))
    for p in (0.1, 0.5, 1.0):
        shares = (draws[:, :GATES] < p).float().mean(0)
        assert shares.mean() == pytest.approx(p, abs=0.02)
        same = (ada_augment(x, draws, torch.tensor(p)) - x).abs().amax((1, 2, 3)) < 1e-4
        # Thirteen gates, of which the two rotations count once, and half of the mirrored and inverted do not change.
        wanted = (1 - p) ** 9 * (1 - p / 2) ** 2 * (1 - 0.75 * p)
        assert float(same.float().mean()) == pytest.approx(wanted, abs=0.02)


def test_second_gradients() -> None:
    images = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    grid = torch.rand(1, 4, 4, 2, dtype=torch.float64) * 2.4 - 1.2
    assert torch.autograd.gradcheck(lambda x: _Sampled.apply(x, grid), images)
    assert torch.autograd.gradgradcheck(lambda x: _Sampled.apply(x, grid), images)


def test_p_follows_the_sign() -> None:
    p = torch.tensor(0.1)
    assert float(adjusted(p, torch.tensor(0.9), 0.6, 32 * EVERY)) == pytest.approx(0.1 + 32 * EVERY / IMAGES_TO_FULL)
    assert float(adjusted(p, torch.tensor(0.2), 0.6, 5000)) == pytest.approx(0.09)
    assert float(adjusted(p, torch.tensor(0.2), 0.6, 500_000)) == 0
    assert float(adjusted(p, torch.tensor(0.7), 0.6, 500_000)) == 1
