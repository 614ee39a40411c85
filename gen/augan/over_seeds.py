"""The recipes of a comparison over several seeds: what each trains, and their means with their spread."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gen.augan.tables import COLUMNS, DIRECTIONS
from gen.augan.verdict import unused_spaces
from gen.markdown import markdown_table
from gen.training.experiment import mean_and_deviation

Record = Mapping[str, Any]
Column = tuple[str, Callable[[Record], float | None], str]
"""Title, the number of a row, number format."""


def arms(recipes: Mapping[str, Mapping[str, Any]], seed: int, seeds: int) -> dict[str, dict[str, Any]]:
    """The runs by name, each a recipe with a seed: NAME for the first seed, NAME@SEED for the others.

    The first seed comes first for all recipes. With one seed, these are the recipes as they are.
    """
    if seeds == 1:
        return {name: dict(recipe) for name, recipe in recipes.items()}
    numbers = range(seed, seed + seeds)
    return {
        name if number == seed else f"{name}@{number}": {**recipe, "seed": number}
        for number in numbers
        for name, recipe in recipes.items()
    }


def recipe_of(arm: str) -> str:
    """The recipe of a run; names of recipes have no @."""
    return arm.partition("@")[0]


def means(evaluation: Record, measured: Sequence[str]) -> str:
    """A table for each direction: mean ± sample standard deviation over the seeds; empty if no recipe has two.

    `evaluation`: the result of `evaluate`; `measured`: the runs, of which the first is its row `model`.
    """
    rows: dict[str, list[str]] = {}
    for number, arm in enumerate(measured):
        rows.setdefault(recipe_of(arm), []).append(arm if number else "model")
    if all(len(names) == 1 for names in rows.values()):
        return ""
    tables: list[str] = []
    for direction, title in DIRECTIONS.items():
        if direction in evaluation:
            found = evaluation[direction]  # without the models that lack the direction
            runs = {recipe: [found[name] for name in names if name in found] for recipe, names in rows.items()}
            runs = {recipe: those for recipe, those in runs.items() if those}
            tables.append(f"### {title}, over the seeds\n\n{_table(runs, _columns(evaluation))}")
    return "\n\n".join([HOW, *tables])


def _table(runs: Mapping[str, Sequence[Record]], columns: Sequence[Column]) -> str:
    """One row for each recipe. A column that no run has is left out."""
    used = [column for column in columns if any(column[1](row) is not None for rows in runs.values() for row in rows)]
    lines = [
        (recipe, len(rows), *(_cell([read(row) for row in rows], form) for _, read, form in used))
        for recipe, rows in runs.items()
    ]
    return markdown_table(("recipe", "seeds", *(title for title, _, _ in used)), lines)


def _columns(evaluation: Record) -> list[Column]:
    """The kernel distance and its share of the untouched frames' in each space that no training used; the others."""

    def distance(space: str, key: str) -> Callable[[Record], float | None]:
        return lambda row: row["distances"][space][key]

    def figure(key: str) -> Callable[[Record], float | None]:
        return lambda row: row.get(key)

    columns: list[Column] = []
    for name in unused_spaces(evaluation):
        space = evaluation["spaces"][name]
        columns += [
            (f"{space['kernel_name']} ↓", distance(name, "kernel"), ".4g"),
            ("share of the untouched frames' ↓", distance(name, "kernel_ratio"), ".3f"),
            (f"{space['frechet_name']} ↓", distance(name, "frechet"), ".1f"),
        ]
    return columns + [(title, figure(key), form) for key, (title, form) in COLUMNS.items()]


def _cell(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean, deviation = mean_and_deviation(known)
    return format(mean, form) + ("" if deviation is None else f" ± {format(deviation, '.2g')}")


HOW = """Over the seeds: mean ± sample standard deviation of each recipe's trainings, without feature spaces that a
training looked through. The tables after these have a row for each training, NAME@SEED; their ± is that of one network
over subsets of the frames."""
