"""ICV and IDD against slow references, and whether their intervals hold what they promise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from gen.shift.measures import (
    Histograms,
    Statistic,
    draw_pairs,
    entropy,
    fixed,
    idd,
    jsd,
    measure_class,
    measure_domain,
    ratio,
)

BINS = 8


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(count: int, seed: int = 0, spread: float = 1.0, tilt: float = 0.0) -> Histograms:
    """`count` random histograms whose bins lean to the right by `tilt`."""
    weight = np.exp(tilt * np.linspace(-1, 1, BINS)) * spread
    return np.random.default_rng(seed).dirichlet(weight, count).astype(np.float32)


def slow_jsd(p: NDArray[np.floating], q: NDArray[np.floating]) -> float:
    """By the definition, bin by bin."""
    total = 0.0
    for a, b in zip(p.tolist(), q.tolist(), strict=True):
        m = (a + b) / 2
        total += (a * math.log(a / m) / 2 if a else 0) + (b * math.log(b / m) / 2 if b else 0)
    return total


def slow_distances(histograms: Histograms) -> list[float]:
    return [slow_jsd(a, b) for a, b in itertools.combinations(histograms, 2)]


@st.composite
def histograms(draw: st.DrawFn) -> NDArray[np.float64]:
    """Any histogram, some of its bins empty."""
    counts = draw(arrays(np.int64, BINS, elements=st.integers(0, 50)))
    counts[draw(st.integers(0, BINS - 1))] += 1
    return counts / counts.sum()


class TestDivergence:
    @given(histograms(), histograms())
    def test_is_scipys(self, p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        assert jsd(p, q) == pytest.approx(float(jensenshannon(p, q)) ** 2, abs=1e-12)

    @given(histograms(), histograms())
    def test_is_symmetric_and_between_0_and_ln_2(self, p: NDArray[np.float64], q: NDArray[np.float64]) -> None:
        assert jsd(p, q) == jsd(q, p)
        assert 0 <= jsd(p, q) <= math.log(2)

    @given(histograms())
    def test_of_equals_is_0(self, p: NDArray[np.float64]) -> None:
        assert jsd(p, p) == 0

    def test_of_disjoint_is_ln_2(self) -> None:
        p, q = np.array([0.25, 0.75, 0, 0]), np.array([0, 0, 0.5, 0.5])
        assert jsd(p, q) == pytest.approx(math.log(2), abs=1e-15)

    def test_rows_broadcast(self) -> None:
        a, b = images(5), images(7, seed=1)
        table = jsd(a[:, None], b)
        assert table.shape == (5, 7)
        for i, j in itertools.product(range(5), range(7)):
            assert table[i, j] == pytest.approx(slow_jsd(a[i], b[j]), abs=1e-7)

    def test_entropy_of_even_and_of_certain(self) -> None:
        assert entropy(np.full(4, 0.25)) == pytest.approx(math.log(4))
        assert entropy(np.array([0.0, 1.0, 0.0])) == 0


class TestPairs:
    @given(st.integers(0, 40), st.integers(1, 100))
    def test_are_unordered_different_and_no_more_than_asked(self, count: int, most: int) -> None:
        i, j = draw_pairs(count, most, rng())
        assert len(i) == min(most, count * (count - 1) // 2)
        assert np.all((i >= 0) & (i < j) & (j < count))
        assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == len(i)

    def test_of_a_huge_class(self) -> None:
        """The triangle is unfolded through a square root: it must not be off by one far out."""
        i, j = draw_pairs(3_000_000, 50_000, rng())
        assert np.all((i >= 0) & (i < j) & (j < 3_000_000))
        assert abs(j.mean() / 3_000_000 - 2 / 3) < 0.01

    def test_reach_every_pair_alike(self) -> None:
        draw = rng()
        seen = np.zeros((6, 6))
        for _ in range(3000):
            i, j = draw_pairs(6, 3, draw)
            seen[i, j] += 1
        expected = 3000 * 3 / 15
        assert np.all(np.abs(seen[np.triu_indices(6, 1)] - expected) < 5 * expected**0.5)


class TestICV:
    def test_is_the_variance_of_a_double_loop(self) -> None:
        classes = [images(9, seed=1), images(14, seed=2, spread=3)]
        distances = [slow_distances(c) for c in classes]
        measured = measure_domain(classes, rng(), resamples=0)
        assert measured.icv.value == pytest.approx(np.mean([np.var(d) for d in distances]), abs=1e-8)
        assert measured.icv_mean.value == pytest.approx(np.mean([np.mean(d) for d in distances]), abs=1e-7)

    def test_random_pairs_estimate_all_pairs(self) -> None:
        histograms = images(300)
        exact = measure_domain([histograms], rng(), pairs=10**6, resamples=0)
        drawn = [measure_domain([histograms], rng(s), pairs=2000, resamples=0).icv.value for s in range(20)]
        assert np.mean(drawn) == pytest.approx(float(exact.icv.value), rel=0.02)
        assert np.std(drawn) > 0

    def test_of_copies_of_one_image_is_0(self) -> None:
        copies = np.repeat(images(1), 6, axis=0)
        measured = measure_domain([copies], rng(), resamples=20)
        assert (measured.icv.value, measured.icv_mean.value) == (0, 0)
        assert measured.icv.estimate().high == 0

    def test_a_class_of_less_than_three_is_left_out(self) -> None:
        whole = images(10)
        measured = measure_domain([whole, images(1), images(2)], rng(), resamples=50)
        assert measured.icv.value == measure_domain([whole], rng(), resamples=0).icv.value
        assert math.isfinite(measured.icv.estimate().high)

    def test_without_any_class_of_three_is_not_defined(self) -> None:
        estimate = measure_domain([images(1), images(2)], rng(), resamples=50).icv.estimate()
        assert math.isnan(estimate.value)
        assert math.isnan(estimate.low)

    def test_does_not_depend_on_how_sums_are_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        histograms = images(40)
        whole = measure_class(histograms, rng(), resamples=30)
        monkeypatch.setattr("gen.shift.measures.CHUNK", 100)
        cut = measure_class(histograms, rng(), resamples=30)
        assert cut.icv.value == pytest.approx(float(whole.icv.value))
        np.testing.assert_allclose(cut.icv.resampled, whole.icv.resampled)


class TestIDD:
    def test_is_the_divergence_of_means(self) -> None:
        a, b = images(20, seed=1), images(30, seed=2, tilt=1)
        measured = [measure_domain([x], rng(), resamples=0).mean for x in (a, b)]
        assert idd(*measured).value == pytest.approx(slow_jsd(a.mean(0), b.mean(0)), abs=1e-7)

    def test_of_a_domain_from_itself_is_0(self) -> None:
        mean = measure_domain([images(20)], rng(), resamples=100).mean
        assert idd(mean, mean).value == 0

    def test_balanced_weighs_classes_alike(self) -> None:
        many, few = images(30, seed=1), images(3, seed=2, tilt=2)
        by_image = measure_domain([many, few], rng(), resamples=10)
        by_class = measure_domain([many, few], rng(), resamples=10, balanced=True)
        np.testing.assert_allclose(by_image.mean.value, np.concatenate([many, few]).mean(0), atol=1e-6)
        np.testing.assert_allclose(by_class.mean.value, (many.mean(0) + few.mean(0)) / 2, atol=1e-6)
        np.testing.assert_allclose(by_class.mean.resampled.sum(1), 1, atol=1e-5)


class TestIntervals:
    def test_weights_are_a_bootstrap_without_self_pairs(self) -> None:
        """Weighted sums are what one gets by listing the drawn images and skipping pairs of one image."""
        histograms = images(7)
        measured = measure_class(histograms, rng(3), resamples=40)
        drawn = rng(3).multinomial(7, np.full(7, 1 / 7), size=40)  # with all pairs taken, nothing else is drawn
        for counts, mean, icv in zip(drawn, measured.mean.resampled, measured.icv.resampled, strict=True):
            sample = np.repeat(np.arange(7), counts)
            pairs = [(a, b) for a, b in itertools.combinations(sample.tolist(), 2) if a != b]
            assert icv == pytest.approx(np.var([slow_jsd(histograms[a], histograms[b]) for a, b in pairs]), abs=1e-7)
            np.testing.assert_allclose(mean, histograms[sample].mean(0), atol=1e-6)

    def test_the_seed_decides(self) -> None:
        runs = [measure_domain([images(50)], rng(seed), resamples=60).icv.estimate() for seed in (1, 1, 2)]
        assert runs[0] == runs[1]
        assert runs[0].low != runs[2].low

    def test_more_images_narrow_them_as_the_root(self) -> None:
        reference = fixed(np.full(BINS, 1 / BINS))

        def widths(count: int, seed: int) -> list[float]:
            measured = measure_domain([images(count, seed, tilt=1)], rng(seed), pairs=10**5, resamples=100)
            estimates = [measured.icv.estimate(), idd(measured.mean, reference).estimate()]
            return [e.high - e.low for e in estimates]

        mean = [np.mean([widths(count, seed) for seed in range(8)], axis=0) for count in (20, 80, 320)]
        for before, after in itertools.pairwise(mean):
            assert np.all(np.abs(after / before - 0.5) < 0.15)  # four times the images, half the width

    @pytest.mark.parametrize("tilt", [0.0, 0.15, 1.0])
    def test_of_idd_cover_the_truth(self, tilt: float) -> None:
        """Also where there is no shift at all, and all that is measured is noise."""
        weight = np.exp(tilt * np.linspace(-1, 1, BINS))
        flat = np.full(BINS, 1 / BINS)
        truth = float(jsd(weight / weight.sum(), flat))
        covered = 0
        for seed in range(100):
            mean = measure_domain([images(60, seed, tilt=tilt)], rng(seed), resamples=150).mean
            estimate = idd(mean, fixed(flat)).estimate()
            covered += estimate.low <= truth <= estimate.high
        assert covered >= 87

    def test_of_icv_cover_the_truth(self) -> None:
        truth = float(measure_class(images(4000, seed=999), rng(), pairs=10**6, resamples=0).icv.value)
        covered = 0
        for seed in range(100):
            estimate = measure_domain([images(60, seed)], rng(seed), resamples=150).icv.estimate()
            covered += estimate.low <= truth <= estimate.high
        assert covered >= 87

    def test_none_without_resamples(self) -> None:
        estimate = measure_domain([images(9)], rng(), resamples=0).icv.estimate()
        assert estimate.value > 0
        assert math.isnan(estimate.low)

    def test_never_reach_below_0(self) -> None:
        assert Statistic(np.array(0.1), np.array([0.05, 0.3, 0.4])).estimate().low == 0

    def test_of_a_ratio(self) -> None:
        a = Statistic(np.array(2.0), np.array([2.0, 3.0]))
        assert ratio(a, a).estimate().value == 1
        nothing = Statistic(np.array(0.0), np.zeros(2))
        assert math.isnan(ratio(a, nothing).estimate().value)


@settings(max_examples=30)
@given(arrays(np.int64, (5, BINS), elements=st.integers(0, 9)))
def test_icv_is_no_more_than_distances_allow(counts: NDArray[np.int64]) -> None:
    """A number in [0, ln 2] has a variance of at most (ln 2)² / 4."""
    counts[:, 0] += 1
    h = (counts / counts.sum(1, keepdims=True)).astype(np.float32)
    value = float(measure_class(h, rng(), resamples=0).icv.value)
    assert 0 <= value <= math.log(2) ** 2 / 4
