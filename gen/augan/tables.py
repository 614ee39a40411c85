"""The tables of an evaluation in Markdown, and how to read them."""

from collections.abc import Mapping, Sequence
from typing import Any

from gen.augan import seen
from gen.augan.verdict import verdict
from gen.markdown import markdown_table
from gen.translation.settings import Direction
from gen.translation.weathers import sentence

Record = Mapping[str, Any]

ROWS = {
    "untouched": "untouched",
    "gamma": "gamma to the target's mean",
    "histogram": "histogram matching",
    "baseline": "symmetric baseline",
    "model": "**this model**",
    "floor": "other real frames of the target (floor)",
    "target": "real frames of the target",
}
"""Row name -> title. Other models (--rival) keep the names they were given and follow this model."""
LAST = ("floor", "target")

COLUMNS = {
    "structure": ("structure kept ↑", ".3f"),
    "flicker": ("flicker added ↓", ".2f"),
    "vehicles": ("vehicles", ".2f"),
    "people": ("people", ".2f"),
    "lights": ("lights", ".2f"),
    "kept": ("boxes kept ↑", ".2f"),
    "invented": ("invented ↓", ".2f"),
    "luma": ("mean luma", ".1f"),
}
"""Columns beside the distances: key -> (title, number format). A column that no row has is left out."""

PAIRED = {
    "images": ("images", "d"),
    "psnr": ("PSNR, dB ↑", ".2f"),
    "ssim": ("SSIM ↑", ".3f"),
    "perceptual": ("{} ↓", ".3f"),
}
"""The same for the scores of rendered frames."""
DIRECTIONS: dict[Direction, str] = {
    "adverse_to_normal": "Adverse to normal",
    "normal_to_adverse": "Normal to adverse",
}


def results(evaluation: Record, weathers: Sequence[str] = (), model: str = "") -> str:
    """Verdict and table of each direction in Markdown, from the result of `evaluate`.

    `model`: name for the evaluated model's row if it is one of several; there is no verdict then.
    """
    blocks: list[str] = []
    for direction, title in DIRECTIONS.items():
        if direction in evaluation:
            title = f"{title} ({sentence(direction, weathers).lower()})"
            verdicts = [] if model else [verdict(evaluation, direction)]
            blocks += [f"### {title}", *verdicts, direction_table(evaluation, direction, model)]
    used = {name: space for name, space in evaluation["spaces"].items() if space["used_by"]}
    about = seen.notes(evaluation, ROWS | {"model": model or "this model"})
    return "\n\n".join([*blocks, *([MARKED.format(_used(used, model))] if used else []), *about])


def direction_table(evaluation: Record, direction: str, model: str = "") -> str:
    """The table of one direction: first the spaces that no training used, then the others with a mark."""
    rows, spaces = evaluation[direction], evaluation["spaces"]
    order = sorted(spaces, key=lambda name: bool(spaces[name]["used_by"]))  # stable: keeps the order of preference
    columns = {key: what for key, what in COLUMNS.items() if any(key in row for row in rows.values())}
    head = ["frames", "images"]
    for name in order:
        mark = MARK if spaces[name]["used_by"] else ""
        head += [f"{spaces[name][kind]}{mark} ↓" for kind in ("kernel_name", "frechet_name")]
    lines = [
        [
            (name == "model" and model) or ROWS.get(name, name),
            f"{rows[name]['images']:d}",
            *(cell for space in order for cell in _distances(rows[name].get("distances", {}).get(space))),
            *(_number(rows[name].get(key), form) for key, (_, form) in columns.items()),
        ]
        for name in _ordered(rows)
    ]
    return markdown_table((*head, *(title for title, _ in columns.values())), lines)


def rendered_table(evaluation: Record) -> str:
    """Scores of rendered frames and their translations against the true clear day, by weather."""
    rows = [
        (weather, ROWS.get(name, name), *(_number(by_name[name].get(key), form) for key, (_, form) in PAIRED.items()))
        for weather, by_name in evaluation["rendered"].items()
        for name in _ordered(by_name)
    ]
    titles = [title.format(evaluation["perceptual_name"]) for title, _ in PAIRED.values()]
    return markdown_table(("weather", "frames", *titles), rows)


def _ordered(rows: Record) -> list[str]:
    """Row names: those of `ROWS` in that order, with other models before the rows of real frames."""
    first = [name for name in ROWS if name in rows and name not in LAST]
    return [*first, *(name for name in rows if name not in ROWS), *(name for name in LAST if name in rows)]


def _distances(distance: Record | None) -> tuple[str, str]:
    """Kernel distance ± its standard deviation, and Fréchet distance, each with its ratio to the untouched frames."""
    if distance is None:
        return "–", "–"
    kernel, frechet = (_number(distance[f"{kind}_ratio"], ".2f") for kind in ("kernel", "frechet"))
    spread = "" if distance["kernel_std"] is None else f" ± {distance['kernel_std']:.2g}"
    return (
        f"{distance['kernel']:.4g}{spread} ({kernel})",
        f"{distance['frechet']:.1f} ({frechet})",
    )


def _used(spaces: Record, model: str) -> str:
    return "; ".join(
        f"{space['title']} by {', '.join((name == 'model' and model) or name for name in space['used_by'])}"
        for space in spaces.values()
    )


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


MARK = "†"
MARKED = (
    "† Training used this feature space ({}), so it favours those models. It is shown for completeness and "
    "does not count in the verdict."
)

MEANING = """The distances compare a set of frames with real frames of the target domain in the features of a
network. The kernel distance, with its standard deviation over subsets, is the main one; the Fréchet distance is second.
In brackets: the ratio to the distance of the untouched frames. A translation must beat the untouched frames, one gamma
per frame, and histogram matching; the last two know only the target's mean histogram. The floor is the distance of
other real frames of the target domain. Distances depend on the number of images (the Fréchet distance is biased upwards
for small sets, the kernel distance is not), on the feature network and on the frames: compare them only within one
table, not with numbers from papers. Only columns headed FID or KID are FID and KID. Distances say nothing about single
frames: an invented or removed car hardly changes them. Structure kept is the correlation of edge strength between a
frame and its translation (1: same edges, 0: unrelated). A network that runs below the frames' native size gets their
fine detail back from the pipeline, which keeps this number high. Luma is 0 to 255."""
