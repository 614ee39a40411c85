"""Scatter plot (ICV against IDD, figure 1 of the paper), heat map of pairwise IDD, and 2-D embeddings."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gen.media.files import writing
from gen.shift.measures import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

LN2 = math.log(2)

LABEL_OFFSETS = [(dx, dy) for reach in (7, 16, 28, 42) for dy in (reach, -reach, 0) for dx in (7, -7)]
"""Candidate positions of a label relative to its dot, in points, the preferred first."""


class Dot(NamedTuple):
    """One domain in the scatter plot."""

    name: str
    icv: Estimate
    idd: Estimate


def draw_scatter(path: Path, dots: Iterable[Dot], reference: str, representation: str) -> None:
    """ICV against IDD from the reference, with 95 % intervals, as figure 1 of the paper; undefined ICVs are skipped.

    An interval need not contain its dot, because the bootstrap corrects for bias: see `Statistic.estimate`.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    dots = [dot for dot in dots if math.isfinite(dot.icv.value)]
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    colours = [colormaps["tab10"](i % 10) for i in range(len(dots))]
    for dot, colour in zip(dots, colours, strict=True):
        x, y = dot.icv, dot.idd
        axes.plot([x.low, x.high], [y.value, y.value], "|-", color=colour, alpha=0.6)
        axes.plot([x.value, x.value], [y.low, y.high], "_-", color=colour, alpha=0.6)
        axes.plot(x.value, y.value, "o", color=colour, markersize=8, markeredgecolor="white")
    axes.set_xlim(_range([n for d in dots for n in (d.icv.value, d.icv.high)]))
    axes.set_ylim(_range([n for d in dots for n in (d.idd.value, d.idd.high)]))
    axes.grid(alpha=0.25)
    axes.set_xlabel("ICV: variance of $D_{JS}$ over pairs of images of a class (nats²)\n← alike        varied →")
    axes.set_ylabel(f"IDD from {_plain(reference)}: $D_{{JS}}$ of the mean histograms (nats)\n← near        far →")
    axes.set_title(f"Domain shift in {representation}; bars: 95 % bootstrap intervals", fontsize=11)
    _label(figure, axes, dots, colours)
    _save(figure, path)


def _range(numbers: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis that shows 0 and `numbers`, with a margin."""
    most = max([n for n in numbers if math.isfinite(n)], default=0.0) or 1.0
    return -0.04 * most, 1.12 * most


def _label(figure: "Figure", axes: "Axes", dots: Sequence[Dot], colours: Sequence[Any]) -> None:
    """Place each name where it overlaps dots, bars and other names least, and join it to its dot by a thin line.

    Greedy: a label is never moved again. Enough for the few domains of such a plot.
    """
    figure.draw_without_rendering()  # lays out the axes: data coordinates have no pixels before
    inside = axes.get_window_extent()
    taken = [box for dot in dots for box in _drawn(axes, dot)]
    for dot, colour in zip(dots, colours, strict=True):
        point = dot.icv.value, dot.idd.value
        text = axes.annotate(
            _plain(dot.name), point, (0, 0), textcoords="offset points", color=colour, fontweight="bold"
        )
        best = min(LABEL_OFFSETS, key=lambda offset: _overlap(_move(text, offset), taken, inside))
        taken.append(_move(text, best))
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 4}
        axes.annotate("", point, best, textcoords="offset points", arrowprops=line)


def _drawn(axes: "Axes", dot: Dot) -> list["Bbox"]:
    """Boxes, in pixels, of a dot and of its ICV bar."""
    from matplotlib.transforms import Bbox

    x, y = dot.icv, dot.idd.value
    ends = axes.transData.transform([(x.value, y), (np.nan_to_num(x.low, nan=x.value), y), (x.high, y)])
    (middle, height), (left, _), (right, _) = ends.tolist()
    bar = [Bbox.from_extents(left, height - 4, right, height + 4)] if math.isfinite(x.low) else []
    return [Bbox.from_extents(middle - 8, height - 8, middle + 8, height + 8), *bar]


def _move(text: "Annotation", offset: tuple[float, float]) -> "Bbox":
    """Move a label to `offset` (dx, dy) points from its dot, and return its box in pixels."""
    text.set(position=offset, ha="left" if offset[0] > 0 else "right", va="center")
    return text.get_window_extent()


def _overlap(box: "Bbox", taken: Sequence["Bbox"], inside: "Bbox") -> float:
    """Area in pixels that `box` shares with the boxes in `taken`, plus its own area outside the axes."""
    from matplotlib.transforms import Bbox

    def common(other: Bbox) -> float:
        overlap = Bbox.intersection(box, other)
        return float(overlap.width * overlap.height) if overlap else 0.0

    return sum(map(common, taken)) + float(box.width * box.height) - common(inside)


def draw_heat_map(path: Path, names: Sequence[str], values: NDArray[np.float64], representation: str) -> None:
    """IDD of every pair of `names`, (N, N) in nats. The colour range is always 0 to ln 2, so that maps compare."""
    from matplotlib.figure import Figure

    side = 3.2 + 0.75 * len(names)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, cmap="YlGnBu", vmin=0, vmax=LN2)
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, f"{value:.3f}", ha="center", va="center", color="black" if value < LN2 / 2 else "white")
    labels = [_plain(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.set_title(f"IDD of every two domains in {representation}", fontsize=11)
    figure.colorbar(image, label="$D_{JS}$ of the mean histograms (nats), at most ln 2 = 0.693", shrink=0.8)
    _save(figure, path)


def _plain(name: str) -> str:
    """The name with dollar signs escaped: matplotlib reads text between two of them as a formula."""
    return name.replace("$", r"\$")


def _save(figure: "Figure", path: Path) -> None:
    with writing(path) as partial:
        figure.savefig(partial, dpi=150)


def draw_embedding(path: Path, panels: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> None:
    """One panel per network, one colour per domain: `panels[network][domain]` holds points (images, 2)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(panels), 4.4), layout="constrained")
    for axes, (title, domains) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for name, points in domains.items():
            axes.scatter(points[:, 0], points[:, 1], s=7, alpha=0.5, label=_plain(name), linewidths=0)
        axes.set_title(_plain(title), fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.legend(markerscale=2.5, fontsize=8)
    _save(figure, path)
