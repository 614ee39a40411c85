"""The energy distance against the sums of its definition, and what following its gradient does."""

import pytest
import torch

from gen.training.energy import BANDS, MEMORY_SIZE, MIN_IMAGES, FeatureMemory, band_features, energy


def remembered(levels: list[torch.Tensor]) -> FeatureMemory:
    memory = FeatureMemory()
    memory.add(levels)
    return memory


def test_a_description_holds_the_means_of_each_band():
    images, features = torch.rand(2, 3, 32, 48), torch.rand(2, 5, 8, 12)
    for level, x in zip(band_features(images, [features]), (images, features), strict=True):
        assert level.shape == (2, BANDS, x.shape[1])
        rows = x.shape[2] // BANDS
        for band in range(BANDS):
            wanted = x[:, :, band * rows : (band + 1) * rows].mean((2, 3))
            torch.testing.assert_close(level[:, band], wanted)


def test_the_energy_is_that_of_its_definition():
    generator = torch.Generator().manual_seed(0)
    sizes = (3, 5)
    x, real, made = (
        [torch.randn(count, BANDS, size, generator=generator, dtype=torch.float64) for size in sizes]
        for count in (2, MIN_IMAGES + 3, MIN_IMAGES)
    )
    total = 0.0
    for level in range(len(sizes)):
        for picture in range(2):
            for band in range(BANDS):
                one = x[level][picture, band]
                to_real = sum((one - y[band]).norm() for y in real[level]) / len(real[level])
                to_made = sum((one - y[band]).norm() for y in made[level]) / len(made[level])
                total += 2 * (to_real - to_made) / spread(real[level])
    found = energy(x, remembered(real), remembered(made))
    assert found.item() == pytest.approx(float(total) / (len(sizes) * 2 * BANDS), rel=1e-6)


def spread(level: torch.Tensor) -> torch.Tensor:
    centre = level.mean(0)
    return torch.stack([(level[i, b] - centre[b]).norm() for i in range(len(level)) for b in range(BANDS)]).mean()


def test_nothing_is_compared_with_a_few_and_the_oldest_is_forgotten():
    few = remembered([torch.zeros(MIN_IMAGES - 1, BANDS, 3)])
    assert energy([torch.ones(1, BANDS, 3)], few, few) == 0
    memory = FeatureMemory()
    for number in range(MEMORY_SIZE + 5):
        memory.add([torch.full((1, BANDS, 3), float(number), requires_grad=True)])
    assert len(memory) == MEMORY_SIZE
    assert memory.levels[0][0, 0, 0] == 5
    assert not memory.levels[0].requires_grad


def test_following_its_gradient_makes_one_distribution_the_other():
    """Not its mean alone: two thirds of the real ones lie at -1, one third at 2, and so do the made ones in the end."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(90, BANDS, 2, generator=generator)
    real = noise + torch.where(torch.arange(90) % 3 == 0, 2.0, -1.0).view(-1, 1, 1)
    made = torch.randn(60, BANDS, 2, generator=generator, requires_grad=True)
    step = torch.optim.Adam([made], lr=0.05)
    for _ in range(300):
        step.zero_grad()
        energy([made], remembered([real]), remembered([made])).backward()
        step.step()
    assert (made > 0.5).float().mean().item() == pytest.approx(1 / 3, abs=0.1)
    assert made[made > 0.5].mean().item() == pytest.approx(2, abs=0.25)
    assert made[made < 0.5].mean().item() == pytest.approx(-1, abs=0.25)
