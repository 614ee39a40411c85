"""Each loss against a slow reference in float64, written from its equation."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gen.augan import losses
from gen.translation import losses as shared

unit_images = hnp.arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-1, 1, width=32))
maps = hnp.arrays(np.float32, (2, 1, 3, 4), elements=st.floats(-3, 3, width=32))
scales = hnp.arrays(np.float32, (2, 1, 4, 5), elements=st.floats(0, 4, width=32))


@given(unit_images, unit_images)
@settings(max_examples=25, deadline=None)
def test_cycle_and_reconstruction_are_mean_absolute_errors(x, y):
    expected = sum(abs(float(a) - float(b)) for a, b in zip(x.ravel(), y.ravel(), strict=True)) / x.size
    assert shared.cycle(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(expected, abs=1e-6)
    assert losses.reconstruction(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(expected, abs=1e-6)


@given(unit_images, unit_images, scales)
@settings(max_examples=25, deadline=None)
def test_uncertain_cycle_is_half_a_laplace_likelihood(cycled, image, s):
    """5 exp(-s)|e| + s/2 = 1/2 (|e|/b + ln b) + ln(10)/2 with b = exp(s)/10."""
    error = np.abs(cycled.astype(np.float64) - image)
    b = np.broadcast_to(np.exp(s.astype(np.float64)) / 10, error.shape)
    expected = (0.5 * (error / b + np.log(b)) + math.log(10) / 2).mean()
    found = losses.uncertain_cycle(torch.tensor(cycled), torch.tensor(image), torch.tensor(s))
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("error", [0.0, 0.02, 0.1, 0.11, 0.5, 1.0, 2.0])
def test_optimum_of_the_uncertainty_loss(error):
    """A free s >= 0, followed down its gradient, ends at max(0, ln 10e)."""
    s = torch.full((1, 1, 1, 1), 1.5, requires_grad=True)
    image = torch.zeros(1, 3, 1, 1)
    optimizer = torch.optim.SGD([s], lr=0.05)
    for _ in range(1500):
        optimizer.zero_grad()
        losses.uncertain_cycle(image + error, image, s).backward()
        optimizer.step()
        with torch.no_grad():
            s.clamp_(min=0)
    expected = max(0.0, math.log(10 * error)) if error else 0.0
    assert s.item() == pytest.approx(expected, abs=2e-3)


def test_channels_with_different_errors_meet_at_their_mean():
    s = torch.linspace(0, 3, 3001).view(-1, 1, 1, 1)
    cycled = torch.tensor([0.1, 0.6, 0.2]).view(1, 3, 1, 1)
    each = torch.stack([losses.uncertain_cycle(cycled, torch.zeros_like(cycled), x[None]) for x in s])
    assert s[each.argmin()].item() == pytest.approx(math.log(10 * 0.3), abs=2e-3)


def test_laplace_scale_is_in_grey_levels():
    s = torch.tensor([0.0, math.log(10.0)])
    torch.testing.assert_close(losses.laplace_scale(s), torch.tensor([12.75, 127.5]))


def least_squares_reference(logits, target):
    per_map = [sum((float(v) - target) ** 2 for v in m.ravel()) / m.size for m in logits]
    return sum(per_map) / len(per_map)


@given(st.lists(st.lists(maps, min_size=2, max_size=2), min_size=2, max_size=2))
@settings(max_examples=20, deadline=None)
def test_adversarial_losses_sum_over_discriminators_and_average_over_maps(sets):
    tensors = [[torch.tensor(m) for m in logits] for logits in sets]
    generator = sum(least_squares_reference(logits, 1.0) for logits in sets)
    assert shared.adversarial_generator(tensors).item() == pytest.approx(generator, rel=1e-4, abs=1e-5)
    real, fake = tensors, tensors[::-1]
    expected = sum(
        0.5 * least_squares_reference(r, 1.0) + 0.5 * least_squares_reference(f, 0.0)
        for r, f in zip(sets, sets[::-1], strict=True)
    )
    assert shared.adversarial_discriminator(real, fake).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("mode", ["channel_mean", "full", "off"])
def test_feature_matching(mode):
    ours, theirs = torch.randn(2, 6, 3, 4), torch.randn(2, 6, 3, 4)
    x, y = ours.double().numpy(), theirs.double().numpy()
    expected = {
        "channel_mean": np.abs(x.mean(1) - y.mean(1)).mean(),
        "full": np.abs(x - y).mean(),
        "off": 0.0,
    }[mode]
    assert losses.feature_matching(ours, theirs, mode).item() == pytest.approx(expected, abs=1e-6)


def test_channel_mean_matching_does_not_see_which_channel_fires():
    features = torch.randn(1, 8, 4, 4)
    shuffled = features[:, torch.randperm(8)]
    assert losses.feature_matching(features, shuffled, "channel_mean").item() == pytest.approx(0, abs=1e-6)
    assert losses.feature_matching(features, shuffled, "full").item() > 0.1


def test_gradients_reach_both_sides_of_feature_matching():
    ours, theirs = (torch.randn(1, 4, 3, 3, requires_grad=True) for _ in range(2))
    losses.feature_matching(ours, theirs, "channel_mean").backward()
    assert ours.grad.abs().sum() > 0
    assert theirs.grad.abs().sum() > 0


def test_perceptual_distance_is_the_mean_squared_chord_of_the_features():
    maps = [torch.randn(2, 5, 3, 4), torch.randn(2, 7, 2, 2)]
    wanted = [torch.randn_like(m) for m in maps]
    by_hand = []
    for ours, theirs in zip(maps, wanted, strict=True):
        cosines = [
            float(ours[b, :, y, x] @ theirs[b, :, y, x] / ours[b, :, y, x].norm() / theirs[b, :, y, x].norm())
            for b in range(2) for y in range(ours.shape[2]) for x in range(ours.shape[3])
        ]  # fmt: skip
        by_hand.append(sum(2 - 2 * c for c in cosines) / len(cosines))
    assert losses.perceptual(maps, wanted).item() == pytest.approx(sum(by_hand) / 2, rel=1e-5)
    assert losses.perceptual(maps, maps).item() == pytest.approx(0, abs=1e-6)
