"""The table of `gen measure-shift` as CSV and as text."""

import csv
import math
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from gen.shift.measures import Estimate

COLUMNS = {
    "icv": ("ICV (nats²)", 5),
    "icv_mean": ("mean pair D_JS (nats)", 4),
    "icv_ratio": ("ICV ratio", 3),
    "idd": ("IDD (nats)", 4),
}
"""Heading and number of decimals of each column of estimates."""

Row = Mapping[str, str | int | Estimate]
"""One row of the table, by column name."""


def flat(row: Row) -> dict[str, Any]:
    """Each estimate as three columns, NAME, NAME_low and NAME_high; None where it is not defined."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Estimate):
            numbers = {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            cells |= {key: number if math.isfinite(number) else None for key, number in numbers.items()}
        else:
            cells[name] = value
    return cells


def as_csv(rows: Sequence[Row]) -> str:
    """The table for other programs; an empty cell means "not defined"."""
    lines = [flat(row) for row in rows]
    text = StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def as_text(rows: Sequence[Row]) -> str:
    """The table for the terminal: names left-aligned, numbers right-aligned, 95 % intervals in brackets."""
    headings = [COLUMNS[name][0] if name in COLUMNS else name for name in rows[0]]
    return _aligned([headings, *([_cell(name, value) for name, value in row.items()] for row in rows)])


def matrix_as_text(names: Sequence[str], values: Sequence[Sequence[float]]) -> str:
    """Distances of each from each for the terminal, with as many decimals as the column of IDD."""
    digits = COLUMNS["idd"][1]
    lines = [[name, *(f"{value:.{digits}f}" for value in row)] for name, row in zip(names, values, strict=True)]
    return _aligned([["", *names], *lines])


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in cells
    )


def _cell(column: str, value: str | int | Estimate) -> str:
    if not isinstance(value, Estimate):
        return str(value)
    if math.isnan(value.value):
        return "not defined"
    digits = COLUMNS[column][1]
    interval = "" if math.isnan(value.low) else f" [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value.value:.{digits}f}{interval}"
