"""Rankings of error: perfect, random, inverted, constant."""

import numpy as np
import pytest

from gen.metrics.calibration import Floats, rank_correlation, sparsification


@pytest.fixture
def error() -> Floats:
    return np.random.default_rng(0).exponential(10, (40, 50))


def reference_ause(scale: Floats, error: Floats, steps: int) -> float:
    """The definition, one fraction at a time; distinct scales only."""
    gaps: list[float] = []
    for step in range(steps):
        keep = int(np.ceil(error.size * (1 - step / steps)))
        by_scale = error.ravel()[np.argsort(scale.ravel())[:keep]]
        gaps.append(by_scale.mean() - np.sort(error.ravel())[:keep].mean())
    return float(np.mean(gaps) / error.mean())


def test_a_perfect_ranking(error: Floats) -> None:
    assert rank_correlation(error**2, error) == pytest.approx(1)
    assert sparsification(error**2, error)[0] == pytest.approx(0, abs=1e-12)


def test_matches_the_definition(error: Floats) -> None:
    scale = error + np.random.default_rng(1).normal(0, 10, error.shape)
    assert sparsification(scale, error, 7)[0] == pytest.approx(reference_ause(scale, error, 7), rel=1e-9)


def test_a_random_and_a_constant_ranking_are_chance(error: Floats) -> None:
    random = np.random.default_rng(2).random(error.shape)
    ause, chance = sparsification(random, error)
    assert ause == pytest.approx(chance, rel=0.05)
    assert rank_correlation(random, error) == pytest.approx(0, abs=0.1)
    assert sparsification(np.full_like(error, 12.75), error)[0] == pytest.approx(chance, rel=1e-9)
    assert rank_correlation(np.full_like(error, 12.75), error) == 0


def test_an_inverted_ranking_is_worse_than_chance(error: Floats) -> None:
    ause, chance = sparsification(-error, error)
    assert ause > chance
    assert rank_correlation(-error, error) == pytest.approx(-1)


def test_no_error_at_all() -> None:
    assert sparsification(np.arange(6.0), np.zeros(6)) == (0.0, 0.0)
