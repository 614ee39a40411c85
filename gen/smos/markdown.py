"""The table of leave-one-domain-out accuracies as Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gen.markdown import markdown_table
from gen.smos.algorithms import registry
from gen.smos.published import PUBLISHED
from gen.training.experiment import mean_and_deviation, named

RULES = ("SWAD", "training-domain validation", "last step", "oracle")
"""Selection rules in the order of the tables; the oracle looks at the target, so it comes last."""


def as_markdown(results: Mapping[str, Any]) -> str:
    """One table per selection rule, then the published numbers if the network and image size are theirs."""
    s = results["settings"]
    targets = sorted({t for rows in results["accuracy"].values() for row in rows.values() for t in row})
    missing = results.get("missing", ())  # older files only have the number of cells
    lines = [
        _heading(results),
        "",
        *(f"- {name}: {describe(m)}" for name, m in results["methods"].items()),
        *(f"- diverged: {cell}" for cell in results["diverged"]),
        *([f"- {named(missing)}"] if missing else []),
        "",
    ]
    for rule in sorted(results["accuracy"], key=RULES.index):
        note = " (looks at the target: not a fair choice)" if rule == "oracle" else ""
        rows = {
            method: [*(_mean(list(row.get(t, {}).values())) for t in targets), _mean(averages(row, targets))]
            for method, row in results["accuracy"][rule].items()
        }
        lines += [f"Selected by {rule}{note}:", "", *_table(targets, rows)]
    published = PUBLISHED.get(results["dataset"], {}) if (s["backbone"], s["size"]) == ("resnet50", 224) else {}
    if published:
        # The mean of the targets that are shown, so that a table of some targets compares like with like.
        rows = {
            method: [*(f"{row[t]:.1f}" for t in targets), f"{statistics.mean(row[t] for t in targets):.1f}"]
            for method, row in published.items()
        }
        lines += ["Published, not measured here (selected by training-domain validation unless it says SWAD):", ""]
        lines += _table(targets, rows)
    return "\n".join(lines)


def _heading(results: Mapping[str, Any]) -> str:
    s, early = results["settings"], results["ended_early"]
    ended = f" (SWAD ended {len(early)} runs before that, the first after {early[0]:,})" if early else ""
    return (
        f"{results['dataset']}, {preset_in_words(results)}, {s['backbone']} at {s['size']} pixels, {s['steps']:,} "
        f"steps{ended}, {s['batch']} images a domain, Adam at {s['lr']:g}. Accuracy in per cent on the domain that was "
        f"left out (four fifths of it), mean ± standard error over seeds where there are several. "
        f"{results['cells']['done']} of {results['cells']['of']} cells done."
    )


def preset_in_words(results: Mapping[str, Any]) -> str:
    """The preset of a table, from its results.json, and what was set otherwise."""
    changes = results.get("changes", {})  # earlier versions did not record them
    text = ", ".join(f"{name}={value}" for name, value in changes.items())
    return f"preset {results['settings'].get('preset', 'none')}" + (f" with {text}" if text else "")


def _table(targets: Sequence[str], rows: Mapping[str, Sequence[str]]) -> list[str]:
    return [markdown_table(("method", *targets, "mean"), [(name, *cells) for name, cells in rows.items()]), ""]


def describe(method: Mapping[str, Any]) -> str:
    """The loss of a row, from its record in results.json."""
    changes = "".join(f"; {field}={value}" for field, value in method["changes"].items())
    return (method["loss"] if "loss" in method else _loss(method)) + changes


def _loss(method: Mapping[str, Any]) -> str:
    """The loss from the record of an earlier version, which also has options that the algorithm does not use."""
    algorithm = registry.find(method["algorithm"])
    names = [f.name for f in fields(algorithm.options_class)]
    return algorithm.describe(algorithm.options_class(**{name: method[name] for name in names if name in method}))


def averages(row: Mapping[str, Mapping[str, float]], targets: Sequence[str]) -> list[float]:
    """For each seed that has all targets, the mean over the targets."""
    seeds = dict.fromkeys(seed for target in targets for seed in row.get(target, {}))
    complete = [seed for seed in seeds if all(seed in row.get(t, {}) for t in targets)]
    return [statistics.mean(row[t][seed] for t in targets) for seed in complete]


def _mean(values: Sequence[float]) -> str:
    """Mean in per cent; of several values with their standard error."""
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    error = "" if deviation is None else f" ± {100 * deviation / len(values) ** 0.5:.1f}"
    return f"{100 * mean:.1f}{error}"
