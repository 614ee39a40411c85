"""What a table of `gen evaluate-augan` says, in a sentence or two: plain words, and the numbers they come from."""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]

NAMES = {
    "untouched": "the untouched frames",
    "gamma": "gamma",
    "histogram": "histogram matching",
    "baseline": "the symmetric baseline",
}
"""What a model must beat, as a sentence names it."""


def verdict(evaluation: Record, direction: str = "adverse_to_normal") -> str:
    """Whether the model's translation helps, by the spaces that no row's training looked through and by the detector.

    `evaluation` is what `evaluate` returns; rows of other models by name (rivals) take no part.
    """
    rows = evaluation[direction]
    spaces = clean(evaluation)
    summary = [] if len(spaces) == 1 else [_summary(evaluation, rows)]  # of one space, its sentence says it all
    sentences = [*summary, *(_space(evaluation, rows, space) for space in spaces)]
    if "vehicles" in rows["model"]:
        sentences.append(_vehicles(rows))
    return " ".join(sentences)


def clean(evaluation: Record) -> list[str]:
    """The feature spaces that may decide, the leading one first: no training of any row looked through them."""
    return [name for name, space in evaluation["spaces"].items() if not space["used_by"]]


def compare(rows: Record, space: str) -> dict[str, int]:
    """By row of `NAMES`: 1 if the model is nearer to the target, -1 if it is farther, 0 if they are level.

    Level: their kernel distances differ by no more than the larger of their spreads over subsets.
    """
    ours = rows["model"]["distances"][space]
    outcome: dict[str, int] = {}
    for name in NAMES:
        if name in rows:
            theirs = rows[name]["distances"][space]
            nearer = theirs["kernel"] - ours["kernel"]
            level = abs(nearer) <= max(ours["kernel_std"], theirs["kernel_std"])
            outcome[name] = 0 if level else 1 if nearer > 0 else -1
    return outcome


def _summary(evaluation: Record, rows: Record) -> str:
    outcomes = [compare(rows, space) for space in clean(evaluation)]
    if not outcomes:
        return "No space can decide: the training of some row looked through each of them."
    worst = {name: min(outcome[name] for outcome in outcomes) for name in outcomes[0]}
    lowest = min(worst.values())
    verbs = {-1: "loses to", 0: "is not clearly better than", 1: "beats"}
    words = f"By kernel distance it {verbs[lowest]}"
    return f"{words} {_and([NAMES[name] for name, outcome in worst.items() if outcome == lowest])}."


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _space(evaluation: Record, rows: Record, space: str) -> str:
    outcomes = compare(rows, space)
    ratios = {name: rows[name]["distances"][space]["kernel_ratio"] for name in (*outcomes, "model")}
    others = ", ".join(f"{NAMES[name]} {ratios[name]:.2f}" for name in outcomes if name != "untouched")
    parts = [
        f"{words} {_and([NAMES[name] for name, outcome in outcomes.items() if outcome == value])}"
        for value, words in ((-1, "it loses to"), (0, "it is level with"), (1, "it beats"))
        if value in outcomes.values()
    ]
    return (
        f"In {evaluation['spaces'][space]['title']}'s space, which no training used, the translation is at "
        f"{ratios['model']:.2f} of the untouched frames' kernel distance ({others}): {_and(parts)}."
    )


def _vehicles(rows: Record) -> str:
    ours, before = rows["model"]["vehicles"], rows["untouched"]["vehicles"]
    words = "fewer vehicles" if ours < before else "more vehicles" if ours > before else "as many vehicles"
    named = (*list(NAMES.items())[1:], ("target", "real frames of the target"))
    others = ", ".join(f"{name} {rows[row]['vehicles']:.2f}" for row, name in named if row in rows)
    return (
        f"The detector finds {words} in it {'as' if ours == before else 'than'} in the untouched frames: "
        f"{ours:.2f} a frame (untouched {before:.2f}, {others})."
    )
