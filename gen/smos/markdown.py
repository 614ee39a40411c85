"""The table of leave-one-domain-out accuracies as Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gen.markdown import markdown_table
from gen.smos.algorithms import registry
from gen.smos.gains import Gain, Row, baseline_of, gain, relative_cost
from gen.smos.published import PUBLISHED
from gen.training.experiment import mean_and_deviation, named

FIGURE = "gain.png"

COMPARISON = (
    "Gain: difference to ERM in points, mean over the targets, with Student's 95 % interval over seeds. Rows "
    "NAME@Nmin, whose runs each took N minutes of processor time, are compared with ERM's of the same time. Cost a "
    "step: relative to ERM's, in processor time (on a GPU, in time), without evaluations."
)

RULES = ("SWAD", "training-domain validation", "last step", "oracle")
"""Selection rules in the order of the tables; the oracle looks at the target, so it comes last."""


def as_markdown(results: Mapping[str, Any]) -> str:
    """One table per selection rule, then the published numbers if the network and image size are theirs."""
    s, targets = results["settings"], targets_in(results)
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
        more = [] if rule == "oracle" else _comparison(results, rule, list(rows))
        rows = {method: [*row, *(column[method] for _, column in more)] for method, row in rows.items()}
        lines += [f"Selected by {rule}{note}:", "", *_table(targets, rows, [title for title, _ in more])]
    if gains_to_draw(results):
        lines += [f"![Gain over ERM by method, selected by {fair_rule(results)}]({FIGURE})", "", COMPARISON, ""]
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
    minutes = s.get("core_minutes")  # earlier versions have none
    length = f"{minutes:g} minutes of processor time a run" if minutes else f"{s['steps']:,} steps"
    return (
        f"{results['dataset']}, {preset_in_words(results)}, {s['backbone']} at {s['size']} pixels, "
        f"{length}{ended}, {s['batch']} images a domain, Adam at {s['lr']:g}. Accuracy in per cent on the domain "
        f"that was left out (four fifths of it), mean ± standard error over seeds where there are several. "
        f"{results['cells']['done']} of {results['cells']['of']} cells done."
    )


def preset_in_words(results: Mapping[str, Any]) -> str:
    """The preset of a table, from its results.json, and what was set otherwise."""
    changes = results.get("changes", {})  # earlier versions did not record them
    text = ", ".join(f"{name}={value}" for name, value in changes.items())
    return f"preset {results['settings'].get('preset', 'none')}" + (f" with {text}" if text else "")


def targets_in(results: Mapping[str, Any]) -> list[str]:
    """The targets of a table, sorted."""
    return sorted({t for rows in results["accuracy"].values() for row in rows.values() for t in row})


def fair_rule(results: Mapping[str, Any]) -> str:
    """The first rule of a table that does not look at the target; empty if no cell is done."""
    return next((rule for rule in RULES if rule in results["accuracy"] and rule != "oracle"), "")


def gains_to_draw(results: Mapping[str, Any]) -> dict[str, tuple[Gain, dict[str, Gain]]]:
    """By method, what it gains over ERM, selected by `fair_rule`: the mean of the targets, and each."""
    found: dict[str, tuple[Gain, dict[str, Gain]]] = {}
    rule = fair_rule(results)
    for method, row in results["accuracy"][rule].items() if rule else ():
        if base := _row_of_baseline(results, rule, method):
            targets = targets_in(results)
            each = {t: g for t in targets if (g := gain(row, base, [t]))}
            if mean := gain(row, base, targets):
                found[method] = mean, each
    return found


def _row_of_baseline(results: Mapping[str, Any], rule: str, method: str) -> Row | None:
    baseline = baseline_of(results["methods"], method) if method in results["methods"] else None
    return results["accuracy"][rule].get(baseline) if baseline else None


def _comparison(results: Mapping[str, Any], rule: str, methods: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Columns with the gain over ERM, the cost of a step and the steps; none if no row can be compared with ERM."""
    if not any(_row_of_baseline(results, rule, method) for method in methods):
        return []
    rows, targets = results["accuracy"][rule], targets_in(results)
    columns = {title: dict.fromkeys(methods, "") for title in ("gain over ERM", "cost a step", "steps")}
    for method in methods:
        costs = results.get("costs", {}).get(method, {})  # earlier versions have none
        steps = [cost["steps"] for cost in costs.values() if cost["steps"] is not None]
        columns["steps"][method] = f"{statistics.fmean(steps):,.0f}" if steps else ""
        if base := _row_of_baseline(results, rule, method):
            columns["gain over ERM"][method] = str(gain(rows[method], base, targets) or "")
            cost = relative_cost(
                *(_step_seconds(results, m) for m in (method, baseline_of(results["methods"], method)))
            )
            columns["cost a step"][method] = "" if cost is None else f"{cost:.2f}"
    return [(title, column) for title, column in columns.items() if any(column.values())]


def _step_seconds(results: Mapping[str, Any], method: str | None) -> dict[str, float]:
    costs = results.get("costs", {}).get(method, {})
    return {cell: cost["step_seconds"] for cell, cost in costs.items() if cost["step_seconds"] is not None}


def _table(targets: Sequence[str], rows: Mapping[str, Sequence[str]], more: Sequence[str] = ()) -> list[str]:
    return [markdown_table(("method", *targets, "mean", *more), [(name, *cells) for name, cells in rows.items()]), ""]


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
