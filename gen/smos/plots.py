"""The figures of a table: what each method gains over ERM, and how well its runs do while they train."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gen.media.files import writing
from gen.smos.gains import Gain


def draw_gains(
    path: Path, gains: Mapping[str, tuple[Gain, Mapping[str, Gain]]], targets: Sequence[str], rule: str
) -> None:
    """One line for each method: its mean gain with 95 % interval, and smaller dots for the single targets.

    `gains`: by method, the mean over the targets and the gain on each. `rule`: what selected the weights.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.6 + 0.45 * len(gains)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="black", linewidth=0.8)
    heights = np.arange(len(gains))[::-1]
    for number, target in enumerate(targets):
        shown = [(each[target].mean, y) for (_, each), y in zip(gains.values(), heights, strict=True) if target in each]
        xs, ys = [x for x, _ in shown], [y for _, y in shown]
        colour = colormaps["tab10"](number % 10)
        axes.plot(xs, ys, ".", color=colour, label=_plain(target), alpha=0.7, zorder=3)
    for (mean, _), y in zip(gains.values(), heights, strict=True):
        axes.plot([mean.low, mean.high], [y, y], "|-", color="black")
        axes.plot(mean.mean, y, "D", color="black", markersize=6, markeredgecolor="white", zorder=4)
    axes.set_yticks(heights, [_plain(name) for name in gains])
    axes.set_ylim(-0.6, len(gains) - 0.4)
    axes.grid(axis="x", alpha=0.25)
    axes.set_title(f"Gain over ERM, selected by {rule}", fontsize=11)
    axes.set_xlabel("gain over ERM in points; diamond: mean of the targets, with its 95 % interval over seeds")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    with writing(path) as partial:
        figure.savefig(partial, dpi=150)


def draw_curves(path: Path, curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
    """One line for each method: how much of the sources' held-out images its run gets right; the last one stands out.

    `curves`: by method, images shown of each domain and accuracy (0..1), in the order of training.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 3), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(curves.items(), 1):
        last = number == len(curves)
        xs, ys = [images for images, _ in points], [100 * accuracy for _, accuracy in points]
        axes.plot(xs, ys, "o-" if last else "-", markersize=3, alpha=1 if last else 0.4, label=_plain(name))
    axes.set_xlim(left=0)
    axes.set_ylim(0, 103)
    axes.grid(alpha=0.25)
    axes.set_title(_plain(title), fontsize=11)
    axes.set_xlabel("images shown of each domain")
    axes.set_ylabel("right on held-out images, %")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    with writing(path) as partial:
        figure.savefig(partial, dpi=100)


def _plain(name: str) -> str:
    """The name with dollar signs escaped: matplotlib reads text between two of them as a formula."""
    return name.replace("$", r"\$")
