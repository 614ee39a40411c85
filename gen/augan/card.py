"""MODEL_CARD.md, written from the records in the model's folder and, word for word, its notes.md."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from gen.augan.arguments import EvaluateSettings
from gen.augan.evaluation import BACK_SHEET_NAME, FILE_NAME, identity
from gen.augan.evaluation import RENDERED_SHEET_NAME as SHEET
from gen.augan.invention import FOLDER
from gen.augan.invention_evaluation import table as invention_table
from gen.augan.invention_settings import InventionEvaluation
from gen.augan.verdict import verdict
from gen.errors import BadInput
from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.translation.settings import Direction
from gen.translation.weathers import sentence, weathers_of

Record = Mapping[str, Any]

ROWS = {
    "untouched": "untouched",
    "gamma": "gamma to the target's mean",
    "histogram": "histogram matching",
    "baseline": "symmetric baseline",
    "model": "**this model**",
    "floor": "other real frames of the target (floor)",
    "target": "the real frames compared with",
}
"""Titles; other models stand under the names that they were given, after this one."""
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
"""Beside the distances; one that no row has is left out."""

PAIRED = {
    "images": ("images", "d"),
    "psnr": ("PSNR, dB ↑", ".2f"),
    "ssim": ("SSIM ↑", ".3f"),
    "perceptual": ("{} ↓", ".3f"),
}
DIRECTIONS: dict[Direction, str] = {
    "adverse_to_normal": "Adverse to normal",
    "normal_to_adverse": "Normal to adverse",
}


def write_card(model_dir: Path) -> Path:
    """Write `model_dir`/MODEL_CARD.md from training.json, evaluation.json and, where there is one, notes.md.

    Returns its path. Raises `BadInput` if a record is missing or unreadable, or if the numbers were measured
    on other weights than those that lie there now.
    """
    training, evaluation = (_read(model_dir / name) for name in ("training.json", FILE_NAME))
    notes, weathers = model_dir / "notes.md", weathers_of(model_dir)
    try:
        command = evaluation_command(evaluation["settings"])
        if evaluation["weights"] != identity(model_dir, without=FOLDER):
            raise BadInput(
                f"{model_dir / FILE_NAME} was measured on other weights, or at other rows: run `{command}` again"
            )
        sections = [
            head(model_dir.name, weathers, training, evaluation),
            usage(model_dir.name, _read(model_dir / "model_index.json")),
            trained_on(training, notes.read_text(encoding="utf-8").strip() if notes.is_file() else ""),
            numbers(evaluation, command, weathers),
            *([rendered(evaluation)] if "rendered" in evaluation else []),
            *sheets(model_dir),
            uncertainty(evaluation.get("uncertainty")),
            *invention(model_dir),
            LIMITS.format(NO_MAP_BACK if evaluation.get("uncertainty") else ""),
            how_trained(training),
        ]
    except KeyError as error:
        raise BadInput(f"{model_dir}: training.json and {FILE_NAME} do not say {error}") from error
    card = model_dir / "MODEL_CARD.md"
    with write_atomically(card) as path:
        path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return card


def head(name: str, weathers: Sequence[str], training: Record, evaluation: Record) -> str:
    """The metadata that a model hub reads, and what this is."""
    start = training["settings"].get("start_from")
    origin = f"trained further from `{start}`" if start else "trained from scratch"
    if training["settings"].get("pretrained"):
        origin += ", with a frozen EfficientNet-Lite0 beside its encoders"
    ways = [f"{weather.replace(' ', '-')}-to-day" for weather in weathers]
    tags = ", ".join(["augan", "unpaired-translation", *ways, "driving", "uncertainty"])
    return f"""---
library_name: gen
pipeline_tag: image-to-image
license: other
tags: [{tags}]
---

# {name}

AU-GAN (Kwak et al., "Adverse Weather Image Translation with Asymmetric and Uncertainty-aware GAN", BMVC
2021), {origin}: a pair of generators between dash-cam
frames taken in adverse conditions and in clear daylight.{HAS_MAP if evaluation.get("uncertainty") else ""}"""


def usage(name: str, index: Record) -> str:
    """Three lines of Python, one of shell."""
    map_of = "invented" if index.get("default_map") == "invention" else "uncertainty"
    return f"""## Use

```python
from gen import AUGANPipeline

pipe = AUGANPipeline.from_pretrained("{name}")
output = pipe("frame.jpg", direction="adverse_to_normal")  # output.images, output.{map_of}
```

```sh
gen translate IN OUT --model {name}  # a picture, a folder tree or a clip
```"""


def trained_on(training: Record, notes: str) -> str:
    """The data that the weights come from, and what may be done with them."""
    rows = [
        (domain, data["folder"], data["count"], "x".join(map(str, data["cached_size"])))
        for domain, data in training["data"].items()
    ]
    frames = markdown_table(("domain", "folder", "frames", "trained at (height x width)"), rows)
    pairs = "".join(text for data, text in PAIRS.items() if data in training["data"])
    return "\n\n".join(("## Training data", f"{frames}\n\nThe real frames are not paired.{pairs}", notes or LICENCE))


def how_trained(training: Record) -> str:
    """Hardware, time and every setting."""
    hours = f"{training['seconds'] / 3600:.2f} h"
    facts = [
        ("preset", training["preset"]),
        ("images shown a domain", f"{training['images_shown']:,}"),
        ("optimiser steps", f"{training['steps']:,}"),
        ("time", hours),
        *training["hardware"].items(),
        *((f"parameters: {part}", f"{count:,}") for part, count in _parts(training["parameters"])),
        *((f"MACs: {part}", f"{count:,}") for part, count in _parts(training["macs"])),
    ]
    settings = markdown_table(
        ("setting", "value"), [(key, f"`{value}`") for key, value in training["settings"].items()]
    )
    before, start = training.get("history", []), training["settings"].get("start_from")
    only: list[str] = []
    if before:
        only = ["The last run alone. The runs before it stand below its settings."]
    elif start:
        only = [f"This run alone. It began with the weights of `{start}`, whose training is not counted here."]
    earlier = ["### Runs before", "\n".join(run_before(run, training["settings"]) for run in before)] if before else []
    return "\n\n".join(("## Training run", *only, markdown_table(("", ""), facts), "### Settings", settings, *earlier))


def run_before(run: Record, last: Record) -> str:
    """One line of an earlier run: how long it was, and the settings in which it differs from the last run."""
    core = f" ({run['core_seconds'] / 60:.0f} core-minutes)" if run.get("core_seconds") else ""
    differing = [f"{name}={value}" for name, value in run["settings"].items() if value != last.get(name)]
    other = f"; other settings than the last run's: `{' '.join(differing)}`" if differing else ""
    return f"- {run['images_shown']:,} images{core}{other}"


def numbers(evaluation: Record, command: str, weathers: Sequence[str]) -> str:
    """The verdict, the measured tables as they come out, what they mean, and the command that makes them again."""
    return "\n\n".join(
        (
            "## Measured",
            results(evaluation, weathers),
            MEANING,
            *([DETECTIONS.format(evaluation["detector"])] if "detector" in evaluation else []),
            *([FLICKER.format(**evaluation["clip"])] if "clip" in evaluation else []),
            when_measured(evaluation, command),
        )
    )


def results(evaluation: Record, weathers: Sequence[str] = (), model: str = "") -> str:
    """Both directions' verdicts and tables in Markdown, from what `evaluate` returns.

    `model`: the name of the evaluated model, where it is one of several: no verdict on it then.
    """
    blocks: list[str] = []
    for direction, title in DIRECTIONS.items():
        if direction in evaluation:
            title = f"{title} ({sentence(direction, weathers).lower()})"
            said = [] if model else [verdict(evaluation, direction)]
            blocks += [f"### {title}", *said, direction_table(evaluation, direction, model)]
    used = {name: space for name, space in evaluation["spaces"].items() if space["used_by"]}
    return "\n\n".join([*blocks, *([MARKED.format(_used(used, model))] if used else [])])


def direction_table(evaluation: Record, direction: str, model: str = "") -> str:
    """One direction's table: spaces that no training looked through first, the others marked."""
    rows, spaces = evaluation[direction], evaluation["spaces"]
    order = sorted(spaces, key=lambda name: bool(spaces[name]["used_by"]))  # a stable sort
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


def _ordered(rows: Record) -> list[str]:
    """Names of rows: those of `ROWS` in its order, other models before the real frames of the target."""
    first = [name for name in ROWS if name in rows and name not in LAST]
    return [*first, *(name for name in rows if name not in ROWS), *(name for name in LAST if name in rows)]


def _distances(distance: Record | None) -> tuple[str, str]:
    """Kernel distance with its spread, and Fréchet distance, each with its share of the untouched frames'."""
    if distance is None:
        return "–", "–"
    return (
        f"{distance['kernel']:.4g} ± {distance['kernel_std']:.2g} ({distance['kernel_ratio']:.2f})",
        f"{distance['frechet']:.1f} ({distance['frechet_ratio']:.2f})",
    )


def _used(spaces: Record, model: str) -> str:
    return "; ".join(
        f"{space['title']} by {', '.join((name == 'model' and model) or name for name in space['used_by'])}"
        for space in spaces.values()
    )


def sheets(model_dir: Path) -> list[str]:
    """The contact sheets that lie beside the card."""
    shown = {
        SHEET: "Rendered frames and their translations",
        BACK_SHEET_NAME: "Photographs of clear days and their translations",
    }
    return [f"![{what}]({name})" for name, what in shown.items() if (model_dir / name).is_file()]


def rendered(evaluation: Record) -> str:
    """How far translations of rendered frames are from the true clear day."""
    rows = [
        (weather, ROWS.get(name, name), *(_number(by_name[name].get(key), form) for key, (_, form) in PAIRED.items()))
        for weather, by_name in evaluation["rendered"].items()
        for name in _ordered(by_name)
    ]
    titles = [title.format(evaluation["perceptual_name"]) for title, _ in PAIRED.values()]
    return f"{RENDERED}\n\n{markdown_table(('weather', 'frames', *titles), rows)}"


def uncertainty(measured: Record | None) -> str:
    """What the map is, and how well it ranks the errors."""
    if measured is None:
        return "## Cycle uncertainty\n\nThis model has no uncertainty head: it gives no such map."
    rows = [
        (
            "Spearman's rho between b and the error ↑ (1 is perfect, 0 is chance)",
            f"{measured['spearman']:.3f}",
        ),
        (
            "AUSE, area under the sparsification error ↓ (0 is perfect)",
            f"{measured['ause']:.3f} (chance: {measured['ause_chance']:.3f})",
        ),
        ("mean b, grey levels", f"{measured['mean_scale']:.2f}"),
        ("mean cycle error, grey levels", f"{measured['mean_error']:.2f}"),
    ]
    return f"{UNCERTAINTY}\n\n{markdown_table(('per frame, mean over the adverse frames', ''), rows)}"


UNMEASURED = "It has not been measured on these weights. `gen evaluate-invention` does, and puts the table here."


def invention(model_dir: Path) -> list[str]:
    """The invention map's measured tables; nothing for a model without one, a hint where these were never measured."""
    if not (model_dir / FOLDER).is_dir():
        return []
    record = model_dir / FOLDER / FILE_NAME
    measured = _read(record) if record.is_file() else {}
    if measured.get("weights") != identity(model_dir):  # of other weights, or at other rows
        return [f"{INVENTION}\n\n{UNMEASURED}"]
    command = command_line("evaluate-invention", InventionEvaluation, measured["settings"])
    return ["\n\n".join((INVENTION, TRUSTED, invention_table(measured), when_measured(measured, command)))]


def when_measured(record: Record, command: str) -> str:
    """The day, the machine, and the command that measures again."""
    machine = ", ".join(f"{part}: {what}" for part, what in record["machine"].items() if what)
    return (
        f"Measured on {record['date']} ({machine}); to measure again, with the same folders at hand:\n\n"
        f"```sh\n{command}\n```"
    )


def evaluation_command(settings: Record) -> str:
    """The command line that a record of `EvaluateSettings` stands for."""
    return command_line("evaluate-augan", EvaluateSettings, settings)


def command_line(command: str, kind: type[EvaluateSettings | InventionEvaluation], settings: Record) -> str:
    """The command line that a record of these settings stands for; defaults and `out` are left out."""
    words = ["gen", command]
    for name, field in kind.__dataclass_fields__.items():
        value, option = settings.get(name), f"--{name.replace('_', '-')}"
        if name == "out" or value in (None, [], field.default):
            continue
        if name == "rival":  # the one that is given several times
            words += [word for rival in value for word in (option, rival)]
        else:
            words += [option, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join(words)


def _read(path: Path) -> Record:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: a model card needs this record, and it cannot be read ({error})") from error


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _parts(value: object) -> list[tuple[str, Any]]:
    """One number, or numbers by part."""
    return list(cast(Record, value).items()) if isinstance(value, Mapping) else [("all", value)]


LICENCE = """No licence of these frames is on record here: take the weights as for research and education only."""

PAIRS = {
    "rendered day": " Rendered frames (`gen render-street`) are paired: each shows the\nsame moment of a made-up "
    "street in adverse weather and on a clear day.",
    "simulated day": " Simulated frames (`gen simulate-weather`) are paired:\neach was made from its own clear day.",
}
"""What the card says of the pairs among the training frames."""

MARK = "†"
MARKED = (
    "† The training of a model in the table looked through this space ({}): it stands here for completeness and "
    "decides nothing."
)

MEANING = """The distances say how far a set of frames is, in a network's features, from real frames of the
target domain: the kernel distance with its standard deviation over subsets leads, the Fréchet distance comes second,
in brackets the share of the untouched frames' own. A translation must beat the rows of the untouched frames, of one
gamma a frame and of histogram matching, which know no more of the target than its mean histogram; the floor is what
other real frames of that domain get. Distances depend on the number of images (the Fréchet distance is biased upwards
by small sets, the kernel distance is not), on the feature network and on the frames: compare within one table, never
with numbers from a paper. Only numbers that are headed FID or KID are that. They say nothing about a single frame: a
car that was invented or removed hardly moves them. Structure kept is the correlation of edge strength between a frame
and its own translation (1 the same edges, 0 unrelated); a network that runs below the frames' own size gets their fine
detail back from the pipeline, which alone keeps it high. Luma runs from 0 to 255."""

DETECTIONS = """Vehicles (cars, motorcycles, buses, trucks), people and traffic lights are counted by frame as the
detector `{}` finds them with a score of .3 or more. Boxes kept: the share of the boxes of the untouched frames that are
found again, with any score from .1 on. Invented: boxes a frame where the detector saw nothing of the kind in the
untouched frame, not even with a score of .05. What was too dark to be seen there counts as well, so read it beside
gamma's, which only brightens and cannot draw a car."""

FLICKER = """Flicker: grey levels by which {frames} frames of a clip differ from the frame before, moved along the
optical flow of the source (Farnebäck's, 480 pixels across), beyond what the source does. Every row went through the
filter that `gen translate` has on by default (`--steady 0.5`), which follows another flow."""

RENDERED = """## Against the truth, on rendered streets

Real frames have no true clear day; rendered ones do (`gen render-street`). Other streets than those trained on,
adverse to normal, each frame against the same moment on a clear day. A picture of the right brightness with nothing
in it also scores well in PSNR: read the three together, and with the table of real frames."""

UNCERTAINTY = """## Cycle uncertainty

The map is b = exp(s)/10 of the range [-1, 1], given in grey levels: the scale of a Laplace law of the cycle
error |x_cyc - x|, that is, the mean error that the network expects after going to day and back. The loss
cannot express less than 12.75 grey levels, so most of a map lies at that floor; what rises above it is what
the cycle is expected to lose: lamps, reflections, drops, textured signs. It is not the probability that an
object is real."""

INVENTION = """## Invention map

For each pixel, the share of the translation that is made up (0 to 1: it is no more like the true day than like the
day of another street), and its expected error in grey levels. A network beside the translator learnt both on pairs
whose true day is known."""

TRUSTED = """On other rendered streets: rank correlation with the truth (↑)
and area under the sparsification error (AUSE ↓), beside the cycle uncertainty, and beside what needs no training: how
dark a pixel is, and how noisy. On real frames, which have no truth: rank correlation with the signal-to-noise ratio
(should be negative) and with the disagreement of two models (should be positive); the mean in black pixels and
elsewhere; and the means over boxes that a detector finds in the translation alone and over its other boxes, with the
probability that the first is higher (auc, chance .5)."""

LIMITS = """## Limits

- What the weather hides is invented. A translated frame is not evidence, and a detector that was tested only on
  translated frames has not been tested: keep the originals.
- Other cameras, countries, lenses and weather than those of the training frames shift the result.
- Each frame is translated by itself. On clips, the normalisation's statistics are averaged over half a second, and what
  is added to a frame is carried on to the next along the optical flow; some flicker remains.
- Lamps, signs and reflections may become bright patches; sky and road may get texture that was not there.{}"""

NO_MAP_BACK = "\n- There is an uncertainty map in the adverse-to-normal direction only."
HAS_MAP = " On the way to clear day it also predicts, for each pixel,\nthe error of its own cycle."
