"""Does a predicted scale of error say where the error is?"""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]


def rank_correlation(scale: Floats, error: Floats) -> float:
    """Spearman's rho between predicted scale and actual error, arrays of one shape; 0 if one is constant."""
    if np.ptp(scale) == 0 or np.ptp(error) == 0:
        return 0.0
    return float(cast(float, spearmanr(scale.ravel(), error.ravel())[0]))


def sparsification(scale: Floats, error: Floats, steps: int = 20) -> tuple[float, float]:
    """AUSE of the prediction, and of chance: 0 is a perfect ranking, the second what a random one would get.

    Area under the sparsification error (Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for
    Optical Flow", ECCV 2018): the mean error of what is left when the fraction f of largest `scale` is
    removed, less the same with the largest `error` removed, over the mean error of all; mean over
    f = 0, 1/steps, ..., (steps - 1)/steps.
    Pixels of equal scale share their mean error, so that their order in the picture does not matter.
    """
    predicted, actual = scale.ravel(), error.ravel().astype(np.float64)
    if actual.mean() == 0:
        return 0.0, 0.0
    _, place, count = np.unique(predicted, return_inverse=True, return_counts=True)
    by_scale = (np.bincount(place, weights=actual) / count)[place][np.argsort(predicted)]
    kept = np.ceil(actual.size * (1 - np.arange(steps) / steps)).astype(int)
    left = np.cumsum(by_scale)[kept - 1] / kept
    best = np.cumsum(np.sort(actual))[kept - 1] / kept
    return float((left - best).mean() / actual.mean()), float(1 - best.mean() / actual.mean())
