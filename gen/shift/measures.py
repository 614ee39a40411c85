"""IDD (distance between image domains) and ICV (variation within a domain), with bootstrap intervals.

The two measures of Luo et al., CVPR-W 2024 (arXiv 2405.15961), both from the Jensen-Shannon divergence of pixel
histograms. Their formulas and code were never published; these definitions reproduce the paper's figure best. Natural
logarithms throughout: divergences are in nats, from 0 to ln 2 = 0.693. A histogram is a vector that sums to 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Histograms = NDArray[np.float32]
"""(N, bins): one image per row; rows sum to 1."""

Numbers = NDArray[np.float64]

FEWEST_IMAGES = 3
"""Images that a class needs for ICV: two images make one pair, and one number has no variance."""

CHUNK = 1 << 21
"""Numbers that one step of a long computation holds in memory (16 MB of float64)."""


def entropy(p: NDArray[np.floating]) -> Numbers:
    """-Σ p ln p over the last axis: (..., bins) -> (...), in nats. Empty bins add 0, the limit of p ln p."""
    p = np.asarray(p, np.float64)
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(-1)


def jsd(p: NDArray[np.floating], q: NDArray[np.floating]) -> Numbers:
    """Jensen-Shannon divergence in nats of histograms (..., bins), which broadcast: 0 equal, ln 2 disjoint.

    D_JS(p || q) = ½ KL(p || m) + ½ KL(q || m) = H(m) - ½ H(p) - ½ H(q) with m = ½ (p + q), in float64.
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return np.clip(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0.0, np.log(2))


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; nan if not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Statistic:
    """A number or a histogram, and its value on each bootstrap resample of the images."""

    value: Numbers
    """(...)."""
    resampled: Numbers
    """(resamples, ...)."""

    def estimate(self) -> Estimate:
        """The 95 % interval of a non-negative number: 2 value - quantile, no lower than 0 (basic bootstrap).

        Basic and not percentile: a divergence between means of few images is biased upwards by sampling noise, and
        on a resample it has that bias twice. Reflecting the quantiles at the value removes it. So the interval may
        lie below the value; if it starts at 0, noise alone could explain the value.
        """
        known = self.resampled[np.isfinite(self.resampled)]
        if not len(known):
            return Estimate(float(self.value), np.nan, np.nan)
        low, high = np.clip(2 * self.value - np.quantile(known, (0.975, 0.025)), 0, None)
        return Estimate(float(self.value), float(low), float(high))


@dataclass(frozen=True)
class DomainStatistics:
    """Statistics of a domain, or of one of its classes."""

    mean: Statistic
    """Mean histogram, (bins,)."""
    icv: Statistic
    """Variance of D_JS over same-class pairs, in nats²; nan if no class has enough images."""
    icv_mean: Statistic
    """Mean of D_JS over the same pairs, in nats."""


def fixed(histogram: Numbers) -> Statistic:
    """A mean histogram (bins,) without its images: it is treated as exact."""
    return Statistic(histogram, histogram[None])


def idd(a: Statistic, b: Statistic) -> Statistic:
    """Inter-domain dissimilarity, D_JS(mean histogram of a || mean histogram of b), in nats."""
    return Statistic(jsd(a.value, b.value), jsd(a.resampled, b.resampled))


def ratio(a: Statistic, b: Statistic) -> Statistic:
    """a / b of two numbers; nan where b is 0."""
    return Statistic(_divide(a.value, b.value), _divide(a.resampled, b.resampled))


def _divide(a: NDArray[np.floating], b: NDArray[np.floating]) -> Numbers:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def measure_domain(
    classes: Sequence[Histograms],
    rng: np.random.Generator,
    *,
    pairs: int = 2000,
    resamples: int = 1000,
    balanced: bool = False,
) -> DomainStatistics:
    """ICV = (1/C) Σ_c Var over pairs of class c of D_JS(h_i || h_j), its mean in place of Var, and the mean histogram.

    Each class uses all its unordered pairs i ≠ j, or `pairs` random ones. Classes with fewer than three images are
    left out of ICV. The mean is over images, or, if `balanced`, over the class means. The bootstrap draws images with
    replacement within each class; a single image has no intervals.
    """
    shares = np.array([1 if balanced else len(histograms) for histograms in classes], np.float64)
    shares /= shares.sum()
    bins = classes[0].shape[1]
    value, resampled = np.zeros(bins), np.zeros((resamples, bins))
    spreads: list[tuple[Statistic, Statistic]] = []
    for share, histograms in zip(shares, classes, strict=True):
        one = measure_class(histograms, rng, pairs, resamples)
        value += share * one.mean.value
        resampled += share * one.mean.resampled
        if len(histograms) >= FEWEST_IMAGES:
            spreads.append((one.icv, one.icv_mean))
    if sum(map(len, classes)) == 1:  # one image says nothing of how others would differ
        resampled[:] = np.nan
    nothing = Statistic(np.array(np.nan), np.full(resamples, np.nan))
    icv, icv_mean = (average(one) for one in zip(*spreads, strict=True)) if spreads else (nothing, nothing)
    return DomainStatistics(Statistic(value, resampled), icv, icv_mean)


def average(parts: Sequence[Statistic]) -> Statistic:
    """Mean of at least one number."""
    return Statistic(
        np.mean([part.value for part in parts], axis=0), np.mean([part.resampled for part in parts], axis=0)
    )


def measure_class(
    histograms: Histograms, rng: np.random.Generator, pairs: int = 2000, resamples: int = 1000
) -> DomainStatistics:
    """As `measure_domain`, for one class; ICV is nan for a single image.

    An image that a resample holds w times has weight w, and a pair has weight w_i w_j. An image is never paired with
    its own copies: their divergence is 0 and would bias ICV. With random pairs, the noise of the draw is counted up to
    three times, so the interval of ICV is somewhat too wide, never too narrow; more `pairs` reduce that.
    """
    count = len(histograms)
    i, j = draw_pairs(count, pairs, rng)
    distances = pair_distances(histograms, i, j)
    centre = distances.mean() if len(distances) else np.nan
    offsets: Numbers = distances - centre  # centred before squaring: E[x²] - E[x]² would lose digits
    variance = np.square(offsets).mean() if len(distances) else np.nan
    means, icvs, icv_means = (np.empty((resamples, *shape)) for shape in ((histograms.shape[1],), (), ()))
    for part, weights in resample(count, len(i), resamples, rng):
        means[part] = (weights.T @ histograms) / count
        of_pairs = weights[i] * weights[j]
        total = of_pairs.sum(0)
        first = _divide(offsets @ of_pairs, total)
        second = _divide(np.square(offsets) @ of_pairs, total)
        # In a tiny class a resample may hold one image only, hence no pair: use the values of the full class.
        icv_means[part] = np.where(total > 0, centre + first, centre)
        icvs[part] = np.where(total > 0, second - np.square(first), variance)
    return DomainStatistics(
        Statistic(histograms.mean(0, dtype=np.float64), means),
        Statistic(np.array(variance), icvs),
        Statistic(np.array(centre), icv_means),
    )


def draw_pairs(count: int, most: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All unordered pairs i < j of `count` images, or `most` different random ones, as indices i and j."""
    total = count * (count - 1) // 2
    number = np.arange(total) if total <= most else rng.choice(total, most, replace=False)
    # Pair (i, j) has number j (j - 1) / 2 + i: the triangle i < j, row by row. Solved for j, then for i.
    j = ((1 + np.sqrt(1 + 8 * number)) / 2).astype(np.intp)
    return (number - j * (j - 1) // 2).astype(np.intp), j


def pair_distances(histograms: Histograms, i: NDArray[np.intp], j: NDArray[np.intp]) -> Numbers:
    """D_JS of the pairs (i, j), in nats, in bounded memory."""
    step = max(1, CHUNK // histograms.shape[1])
    parts = [slice(start, start + step) for start in range(0, len(i), step)]
    return np.concatenate([np.empty(0), *(jsd(histograms[i[part]], histograms[j[part]]) for part in parts)])


def resample(
    count: int, pairs: int, resamples: int, rng: np.random.Generator
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """How often each of `count` images is in each bootstrap resample: (count, some resamples), a few at a time."""
    step = max(1, CHUNK // max(count, pairs))
    for start in range(0, resamples, step):
        part = slice(start, min(start + step, resamples))
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=part.stop - start)
        yield part, drawn.T.astype(np.float32)
