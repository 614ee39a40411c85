"""What the rows of a table gain over ERM, with intervals, and what they cost, from its results.json."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BASELINE = "erm"
"""The algorithm that the others are compared with."""

Row = Mapping[str, Mapping[str, float]]
"""Accuracies (0..1) by target and seed."""


@dataclass(frozen=True)
class Gain:
    """A difference in accuracy, in points of per cent: its mean over seeds and 95 % interval."""

    mean: float
    low: float
    """nan for a single seed."""
    high: float

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" [{self.low:+.1f}, {self.high:+.1f}]"
        return f"{self.mean:+.1f}{interval}"


def baseline_of(methods: Mapping[str, Mapping[str, Any]], name: str) -> str | None:
    """The row that row `name` is compared with: the first ERM of its length; None if there is none, or it is that."""
    found = [n for n, m in methods.items() if m["algorithm"] == BASELINE and _minutes(m) == _minutes(methods[name])]
    return found[0] if found and name not in found[:1] else None


def _minutes(method: Mapping[str, Any]) -> float | None:
    """The processor time of each of its runs, if that is its length."""
    return method["changes"].get("core_minutes")


def gain(row: Row, baseline: Row, targets: Sequence[str]) -> Gain | None:
    """Mean over the targets, for each seed that has all of them in both rows; None if no seed has."""
    seeds = [s for s in row.get(targets[0], {}) if all(s in r.get(t, {}) for r in (row, baseline) for t in targets)]
    if not seeds:
        return None
    return interval([100 * statistics.fmean(row[t][s] - baseline[t][s] for t in targets) for s in seeds])


def interval(differences: Sequence[float]) -> Gain:
    """Student's interval of paired differences, one for each seed: the same split, and the same images drawn."""
    from scipy.stats import t

    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return Gain(mean, math.nan, math.nan)
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(differences) / math.sqrt(count)
    return Gain(mean, mean - half, mean + half)


def relative_cost(seconds: Mapping[str, float], baseline: Mapping[str, float]) -> float | None:
    """Seconds a step relative to the baseline's, by cell; over the cells that both have, or None."""
    common = [cell for cell in seconds if cell in baseline]
    return sum(seconds[c] for c in common) / sum(baseline[c] for c in common) if common else None
