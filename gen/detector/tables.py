"""The numbers of `gen measure-detector` with their intervals, as a verdict, as tables and for JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gen.detector.scores import Counts, Floats, Matches, interval
from gen.markdown import markdown_table

BEFORE = "before"
"""Name of the row of the frames before translation."""
UNTOLD = 0.5
"""If a change may be as large as this share of the value, an interval that includes 0 tells nothing."""
UNLABELLED = " Whether they are there, only --labels can tell."
"""Follows a verdict on what a detector found, right or wrong."""


@dataclass(frozen=True)
class Number:
    """A measure of one row: its value, its difference to the frames before, and the 95 % interval of each."""

    value: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


Tables = dict[str, dict[str, dict[str, Number]]]
"""Group of objects -> row -> measure -> number."""

Measure = Callable[[Floats], float]
"""Weights of the frames -> a number."""

TITLES = {
    "ap50": "AP50",
    "recall": "recall",
    "precision": "precision",
    "found": "found per frame",
    "kept": "kept",
    "invented": "invented per frame",
}
"""Heading of each measure."""

CHANGE = ("ap50", "recall", "precision", "found")
"""The measures that the frames before have too."""


def measures(matches: Matches | None, counts: Counts, before: bool) -> dict[str, Measure]:
    """The measures of one row. `matches`: with labels only; `before`: the row of the frames before translation."""
    found: dict[str, Measure] = {}
    if matches is not None:
        found |= {"ap50": matches.average_precision, "recall": matches.recall, "precision": matches.precision}
    found["found"] = counts.found_per_frame
    return found if before else found | {"kept": counts.share_kept, "invented": counts.invented_per_frame}


def numbers_of(
    rows: Mapping[str, Mapping[str, Measure]], frames: int, resamples: Sequence[Floats]
) -> dict[str, dict[str, Number]]:
    """Each measure of each row on all frames and on the resamples; the same resamples in every row."""
    drawn = {
        row: {name: [measure(weights) for weights in resamples] for name, measure in measures.items()}
        for row, measures in rows.items()
    }
    ones = np.ones(frames)
    numbers: dict[str, dict[str, Number]] = {}
    for row, measures in rows.items():
        numbers[row] = {}
        for name, measure in measures.items():
            number = Number(measure(ones), *interval(drawn[row][name]))
            if row != BEFORE and name in rows[BEFORE]:
                pairs = zip(drawn[row][name], drawn[BEFORE][name], strict=True)
                change = (number.value - rows[BEFORE][name](ones), *interval([now - then for now, then in pairs]))
                number = Number(number.value, number.low, number.high, *change)
            numbers[row][name] = number
    return numbers


def as_text(tables: Tables) -> str:
    """The verdicts, then a Markdown table for each group of objects."""
    parts = [*(sentence for group, rows in tables.items() for sentence in verdict(group, rows)), ""]
    for group, rows in tables.items():
        shown = list(next(reversed(rows.values())))
        head = [group, *(title for name in shown for title in (TITLES[name], *(["change"] if name in CHANGE else [])))]
        lines = [[row, *(cell for name in shown for cell in _cells(name, numbers))] for row, numbers in rows.items()]
        parts += [markdown_table(head, lines), ""]
    return "\n".join(parts)


def verdict(group: str, rows: Mapping[str, Mapping[str, Number]]) -> list[str]:
    """One sentence for each translation: whether it helps or hurts, or the detector finds more or fewer."""
    measure = "ap50" if "ap50" in rows[BEFORE] else "found"
    words = {
        "ap50": ("hurts", "makes no clear difference to", "helps"),
        "found": ("shows fewer to", "makes no clear difference to", "shows more to"),
    }[measure]
    unknown = "" if measure == "ap50" else UNLABELLED
    before = rows[BEFORE][measure].value
    sentences: list[str] = []
    for row, numbers in rows.items():
        number = numbers[measure]
        if number.difference is None or number.difference_low is None or number.difference_high is None:
            continue
        sign = 1 if number.difference_low > 0 else -1 if number.difference_high < 0 else 0
        says = f"{row} {words[sign + 1]} the detector"
        widest = max(-number.difference_low, number.difference_high)
        nothing = measure == "found" and before == widest == 0  # of which no label says that something is there
        if sign == 0 and (widest > UNTOLD * before or nothing):
            says = f"these frames cannot tell what {row} does to the detector, the interval is too wide"
            if nothing:
                says = f"nothing was found, so these frames cannot tell what {row} does to the detector"
        sentences.append(
            f"{group}: {says} ({TITLES[measure]} {number.value:.3f}, before {before:.3f}; change {_signed(number)})."
            f"{unknown if sign else ''}"
        )
    return sentences


def _signed(number: Number) -> str:
    return f"{number.difference:+.3f} [{number.difference_low:+.3f}, {number.difference_high:+.3f}]"


def _cells(name: str, numbers: Mapping[str, Number]) -> list[str]:
    """The cell of a measure, and for those of `CHANGE` that of its difference to the frames before."""
    number = numbers.get(name)
    if number is None or math.isnan(number.value):
        return [""] * (2 if name in CHANGE else 1)
    value = f"{number.value:.3f} [{number.low:.3f}, {number.high:.3f}]"
    known = number.difference is not None and not math.isnan(number.difference)
    return [value, *([_signed(number) if known else ""] if name in CHANGE else [])]


def plain(number: Number) -> dict[str, float | None]:
    """For JSON, which has no NaN."""
    return {k: v if v is not None and math.isfinite(v) else None for k, v in vars(number).items() if v is not None}
