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
    sentences = [_summary(evaluation, rows), *(_space(evaluation, rows, space) for space in clean(evaluation))]
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
    deciding = clean(evaluation)
    if not deciding:
        return "No space can decide: the training of some row looked through each of them."
    found: dict[int, dict[str, list[str]]] = {-1: {}, 0: {}, 1: {}}
    for space in deciding:
        for name, outcome in compare(rows, space).items():
            found[outcome].setdefault(name, []).append(evaluation["spaces"][space]["title"])
    if not found[-1] and not found[0]:
        return "It beats the untouched frames and every rival, in every space that no loss used."
    words = {-1: "It loses to", 0: "It is level with", 1: "It beats"}
    return " ".join(f"{words[outcome]} {_listed(names)}." for outcome, names in found.items() if names)


def _listed(rows: Mapping[str, list[str]]) -> str:
    return _and([f"{NAMES[name]} (in {_and(titles)})" for name, titles in rows.items()])


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _space(evaluation: Record, rows: Record, space: str) -> str:
    ratios = {name: rows[name]["distances"][space]["kernel_ratio"] for name in NAMES if name in rows}
    others = ", ".join(f"{NAMES[name]} {ratio:.2f}" for name, ratio in ratios.items() if name != "untouched")
    ours = rows["model"]["distances"][space]["kernel_ratio"]
    return (
        f"In {evaluation['spaces'][space]['title']}'s space, which no loss used, the translation is at {ours:.2f} of "
        f"the untouched frames' kernel distance ({others})."
    )


def _vehicles(rows: Record) -> str:
    ours, before = rows["model"]["vehicles"], rows["untouched"]["vehicles"]
    words = "fewer vehicles in it than" if ours < before else "no fewer vehicles in it than"
    others = ", ".join(
        f"{name} {rows[row]['vehicles']:.2f}"
        for row, name in (*NAMES.items(), ("target", "real frames of the target"))
        if row in rows
    )
    return f"The detector finds {words} in the untouched frames: {ours:.2f} a frame ({others})."
