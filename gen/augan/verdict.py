"""A verdict in one to four sentences on a table of `gen evaluate-augan`, with the numbers behind it."""

from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]

NAMES = {
    "untouched": "the untouched frames",
    "gamma": "gamma correction",
    "histogram": "histogram matching",
    "baseline": "the symmetric baseline",
}
"""Row that a model must beat -> its name in a sentence."""


def verdict(evaluation: Record, direction: str = "adverse_to_normal") -> str:
    """Whether the model beats the baselines, in the feature spaces that no row's training used and by the detector.

    `evaluation`: the result of `evaluate`; rows of other models (--rival) are ignored.
    """
    rows = evaluation[direction]
    spaces = unused_spaces(evaluation)
    summary = [] if len(spaces) == 1 else [_summary(evaluation, rows)]  # with one space, its own sentence says the same
    sentences = [*summary, *(_space(evaluation, rows, space) for space in spaces)]
    if "vehicles" in rows["model"]:
        sentences.append(_vehicles(rows))
    return " ".join(sentences)


def in_short(evaluation: Record, direction: str = "adverse_to_normal") -> str:
    """The verdict for people who choose a model: the first fair feature space and the detector, with all numbers."""
    rows, spaces = evaluation[direction], unused_spaces(evaluation)
    if not spaces:
        return _summary(evaluation, rows)
    space = spaces[0]
    ours = rows["model"]
    if ours["distances"][space]["kernel_ratio"] is None:  # a share of nothing: that of the other rows is missing too
        text = _space(evaluation, rows, space)
    else:
        text = _shares(evaluation, rows, space, direction)
    if "vehicles" in ours:
        text += f" A detector finds {ours['vehicles']:.1f} vehicles per frame in them"
        text += f" and {rows['untouched']['vehicles']:.1f} in the untouched frames."
    return text


def _shares(evaluation: Record, rows: Record, space: str, direction: str) -> str:
    """The model's distance beside the others', as shares of that of the untouched frames."""
    outcomes = compare(rows, space)
    seen = direction.partition("_")[0] in evaluation.get("trained_on", ())
    unknown = "model" in evaluation.get("training_unknown", ())  # then the frames may be those of its training
    kind = "frames of its training" if seen else "frames" if unknown else "held-out frames"
    frames = f"{rows['model']['images']} {kind}"
    ratios = {name: f"{rows[name]['distances'][space]['kernel_ratio']:.2f}" for name in (*outcomes, "model")}
    others = ", ".join(f"{NAMES[name]} {ratios[name]}" for name in outcomes if name != "untouched")
    target = "real clear days" if direction == "adverse_to_normal" else "real frames of that weather"
    words = {-1: "larger than that of", 0: "about that of", 1: "smaller than that of"}
    parts = [
        f"{words[value]} {_and([NAMES[name] for name, outcome in outcomes.items() if outcome == value])}"
        for value in words
        if value in outcomes.values()
    ]
    return (
        f"**The translations' distance to {target} is {_and(parts)}.** On {frames} it is {ratios['model']}; 0 would "
        f"be no difference, and 1 is that of the untouched frames (kernel distance; {others})."
    )


def unused_spaces(evaluation: Record) -> list[str]:
    """The feature spaces that no row's training used, in order of preference; only these are fair measures."""
    return [name for name, space in evaluation["spaces"].items() if not space["used_by"]]


def compare(rows: Record, space: str) -> dict[str, int]:
    """For each row of `NAMES`: 1 if the model is nearer to the target, -1 if it is farther, 0 for a tie.

    Tie: the kernel distances differ by at most the larger of their standard deviations over subsets; or these are
    unknown, because the sets are as small as a subset.
    """
    ours = rows["model"]["distances"][space]
    outcome: dict[str, int] = {}
    for name in NAMES:
        if name in rows:
            theirs = rows[name]["distances"][space]
            nearer = theirs["kernel"] - ours["kernel"]
            spreads = ours["kernel_std"], theirs["kernel_std"]
            level = None in spreads or abs(nearer) <= max(spreads)
            outcome[name] = 0 if level else 1 if nearer > 0 else -1
    return outcome


def _summary(evaluation: Record, rows: Record) -> str:
    outcomes = [compare(rows, space) for space in unused_spaces(evaluation)]
    if not outcomes:
        return "There is no verdict: every feature space was used in the training of some row."
    worst = {name: min(outcome[name] for outcome in outcomes) for name in outcomes[0]}
    lowest = min(worst.values())
    verbs = {-1: "loses to", 0: "is not clearly better than", 1: "beats"}
    hardest = [NAMES[name] for name, outcome in worst.items() if outcome == lowest]
    return f"By kernel distance, this model {verbs[lowest]} {_and(hardest)}."


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _space(evaluation: Record, rows: Record, space: str) -> str:
    outcomes = compare(rows, space)
    ratios = {name: rows[name]["distances"][space]["kernel_ratio"] for name in (*outcomes, "model")}
    parts = [
        f"{words} {_and([NAMES[name] for name, outcome in outcomes.items() if outcome == value])}"
        for value, words in ((-1, "it loses to"), (0, "it ties with"), (1, "it beats"))
        if value in outcomes.values()
    ]
    if ratios["model"] is None:
        share = "the untouched frames are as near to the target as its own, so there is no ratio to them"
    else:
        others = ", ".join(f"{NAMES[name]} {ratios[name]:.2f}" for name in outcomes if name != "untouched")
        share = f"the translation's kernel distance is {ratios['model']:.2f} of that of the untouched frames ({others})"
    title = evaluation["spaces"][space]["title"]
    return f"In the features of {title}, which no training used, {share}: {_and(parts)}."


def _vehicles(rows: Record) -> str:
    ours, before = rows["model"]["vehicles"], rows["untouched"]["vehicles"]
    words = "fewer" if ours < before else "more" if ours > before else "as many"
    named = (*list(NAMES.items())[1:], ("target", "real frames of the target"))
    others = ", ".join(f"{name} {rows[row]['vehicles']:.2f}" for row, name in named if row in rows)
    return (
        f"The detector finds {words} vehicles in the translation {'as' if ours == before else 'than'} in the untouched "
        f"frames: {ours:.2f} per frame (untouched {before:.2f}, {others})."
    )
