"""How well a predicted error ranks the pixels by their actual error."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

Floats = NDArray[np.float64]


def rank_correlation(scale: Floats, error: Floats) -> float:
    """Spearman's rho between predicted scale and actual error, of equal shape; 0 if either is constant."""
    if np.ptp(scale) == 0 or np.ptp(error) == 0:
        return 0.0
    return float(cast(float, spearmanr(scale.ravel(), error.ravel())[0]))


def sparsification(scale: Floats, error: Floats, steps: int = 20) -> tuple[float, float]:
    """Return (AUSE of the prediction, AUSE of a random ranking); 0 is a perfect ranking.

    AUSE is the area under the sparsification error (Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks
    for Optical Flow", ECCV 2018). For each fraction f = 0, 1/steps, ..., (steps - 1)/steps, remove that fraction of
    pixels with the largest `scale` and take the mean error of the rest; subtract the same for removal by the largest
    `error`. AUSE is the mean of these differences over f, divided by the mean error of all pixels.
    """
    predicted, actual = scale.ravel(), error.ravel().astype(np.float64)
    if actual.mean() == 0:
        return 0.0, 0.0
    # Pixels of equal scale share their mean error, so that the result does not depend on their order in the image.
    _, group, count = np.unique(predicted, return_inverse=True, return_counts=True)
    by_scale = (np.bincount(group, weights=actual) / count)[group][np.argsort(predicted)]
    kept = np.ceil(actual.size * (1 - np.arange(steps) / steps)).astype(int)
    left = np.cumsum(by_scale)[kept - 1] / kept
    best = np.cumsum(np.sort(actual))[kept - 1] / kept
    return float((left - best).mean() / actual.mean()), float(1 - best.mean() / actual.mean())
