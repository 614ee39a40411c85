"""Writes MODEL_CARD.md from the records in the model folder and, verbatim, its notes.md."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from gen.augan import seen
from gen.augan.arguments import EvaluateSettings
from gen.augan.evaluation_record import FILE_NAME, identity
from gen.augan.invention import FOLDER
from gen.augan.invention_evaluation import table as invention_table
from gen.augan.invention_settings import InventionEvaluation
from gen.augan.sheet import BACK_SHEET_NAME, RENDERED_SHEET_NAME
from gen.augan.start import FOLDERS
from gen.augan.tables import MEANING, Record, rendered_table, results
from gen.errors import BadInput
from gen.formats.json_files import read_json
from gen.licences import front_matter, section
from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.training import longer
from gen.training.data_record import changed_during_training
from gen.training.own_code import own_trainer_in
from gen.training.streets import STREETS
from gen.translation.weathers import weathers_of
from gen.weights import CARD, name_of, read_written, texts


def write_card(model_dir: Path) -> Path:
    """Write `model_dir`/MODEL_CARD.md from training.json, evaluation.json and, if present, notes.md.

    Returns its path. Raises `BadInput` if a record is missing or unreadable, or if the numbers were measured
    with other weights than the present ones.
    """
    training, evaluation = (_read(model_dir / name) for name in ("training.json", FILE_NAME))
    notes, weathers = model_dir / "notes.md", weathers_of(model_dir)
    try:
        command = evaluation_command(evaluation["settings"])
        if evaluation["weights"] != identity(model_dir, exclude=FOLDER):
            raise BadInput(
                f"{model_dir / FILE_NAME} was measured with other weights or at another height; run `{command}` again"
            )
        sections = [
            head(name_of(model_dir), weathers, training, evaluation),
            usage(name_of(model_dir), _read(model_dir / "model_index.json"), evaluation),
            trained_on(training, read_written(notes).strip() if notes.is_file() else ""),
            numbers(evaluation, command, weathers),
            *([rendered(evaluation)] if "rendered" in evaluation else []),
            *sheets(model_dir, evaluation),
            uncertainty(evaluation.get("uncertainty")),
            *invention(model_dir),
            LIMITS.format(NO_MAP_BACK if evaluation.get("uncertainty") else ""),
            how_trained(training),
            section(training.get("weights_license", "unstated")),
        ]
    except KeyError as error:
        raise BadInput(f"{model_dir}: training.json or {FILE_NAME} lacks the entry {error}") from error
    card = model_dir / CARD
    with write_atomically(card) as path:
        path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return card


def refresh_card(model_dir: Path) -> None:
    """After an export: write the card anew, or remove it if nothing was measured with the present weights."""
    (model_dir / CARD).unlink(missing_ok=True)
    if (model_dir / FILE_NAME).is_file():
        with suppress(BadInput):
            write_card(model_dir)


def head(name: str, weathers: Sequence[str], training: Record, evaluation: Record) -> str:
    """Metadata for a model hub, and what the model is."""
    start = training["settings"].get("start_from")
    origin = f"fine-tuned from `{start}`" if start else "trained from scratch"
    if training["settings"].get("pretrained"):
        origin += ", with features of a frozen EfficientNet-Lite0 in its encoders"
    ways = [f"{weather.replace(' ', '-')}-to-day" for weather in weathers]
    tags = ", ".join(["augan", "unpaired-translation", *ways, "driving", "uncertainty"])
    return f"""---
library_name: gen
pipeline_tag: image-to-image
license: {front_matter(training.get("weights_license", "unstated"))}
tags: [{tags}]
---

# {name}

AU-GAN (Kwak et al., "Adverse Weather Image Translation with Asymmetric and Uncertainty-aware GAN", BMVC
2021), {origin}: a pair of generators that translate
dash-cam frames between adverse conditions and clear daylight.{HAS_MAP if evaluation.get("uncertainty") else ""}"""


def usage(name: str, index: Record, evaluation: Record) -> str:
    """A short example in Python and one in the shell."""
    map_of = "output.invented" if index.get("default_map") == "invention" else "output.uncertainty"
    maps = f", {map_of}" if index.get("default_map") == "invention" or evaluation.get("uncertainty") else ""
    return f"""## Use

```python
from gen import AUGANPipeline

pipe = AUGANPipeline.from_pretrained("{name}")
output = pipe("frame.jpg", direction="adverse_to_normal")  # output.images{maps}
```

```sh
gen translate IN OUT --model {name}  # an image, a folder tree or a clip
```"""


def trained_on(training: Record, notes: str) -> str:
    """The training data, and the notes on them."""
    rows = [
        (domain, data["folder"], data["count"], "x".join(map(str, data["cached_size"])))
        for domain, data in training["data"].items()
    ]
    frames = markdown_table(("domain", "folder", "frames", "trained at (height x width)"), rows)
    pairs = "".join(text for data, text in PAIRS.items() if data in training["data"])
    data = training["data"]
    adverse = data["adverse"]
    drawn = STREETS in adverse or data.get("rendered adverse", {}).get("folder") == adverse["folder"]
    # Without pairs, nothing tells whether the frames are real: two folders of rendered frames train, too.
    about = pairs if drawn else f"The real frames are not paired.{pairs}" if pairs else "The frames are not paired."
    changed = ", ".join(changed_during_training(data))
    about += f" While it was trained, images of these vanished or were replaced: {changed}." if changed else ""
    text = f"## Training data\n\n{frames}\n\n{about.strip()}"
    return f"{text}\n\n{notes}" if notes else text


def how_trained(training: Record) -> str:
    """Hardware, time and every setting."""
    hours = f"{training['seconds'] / 3600:.2f} h"
    facts = [
        ("preset", training["preset"]),
        *((("trainer", own),) if (own := own_trainer_in(training)) else ()),
        ("images shown per domain", f"{training['images_shown']:,}"),
        ("optimiser steps", f"{training['steps']:,}"),
        *((("schedule changed", changes),) if (changes := longer.in_words(training)) else ()),
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
        only = ["This is the last run only; earlier runs are listed below its settings."]
    elif start:
        only = [
            f"This is the last run only. It started from the weights of `{start}`, whose training is not counted here."
        ]
    earlier = ["### Earlier runs", "\n".join(run_before(run, training["settings"]) for run in before)] if before else []
    return "\n\n".join(("## Training run", *only, markdown_table(("", ""), facts), "### Settings", settings, *earlier))


def run_before(run: Record, last: Record) -> str:
    """One line about an earlier run: its length, and the settings that differ from those of the last run."""
    core = f" ({run['core_seconds'] / 60:.0f} core-minutes)" if run.get("core_seconds") else ""
    differing = [f"{name}={value}" for name, value in run["settings"].items() if value != last.get(name)]
    other = f"; settings that differ from the last run: `{' '.join(differing)}`" if differing else ""
    named = ", ".join(texts(run.get(FOLDERS)))
    folders = f", on {named}" if named else ""
    return f"- {run['images_shown']:,} images{core}{folders}{other}"


def numbers(evaluation: Record, command: str, weathers: Sequence[str]) -> str:
    """The verdict, the tables, how to read them, and the command that repeats the measurement."""
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


def sheets(model_dir: Path, evaluation: Record) -> list[str]:
    """Links to the contact sheets beside the card, without those that an earlier measurement left."""
    shown = {
        RENDERED_SHEET_NAME: ("Rendered frames and their translations", "rendered" in evaluation),
        BACK_SHEET_NAME: ("Photographs of clear days and their translations", evaluation["settings"].get("shown")),
    }
    return [f"![{what}]({name})" for name, (what, made) in shown.items() if made and (model_dir / name).is_file()]


def rendered(evaluation: Record) -> str:
    """Scores of translated rendered frames against the true clear day."""
    return f"{RENDERED.format(seen.used_in_training(evaluation))}\n\n{rendered_table(evaluation)}"


def uncertainty(measured: Record | None) -> str:
    """What the uncertainty map is, and how well it ranks the errors."""
    if measured is None:
        return "## Cycle uncertainty\n\nThis model has no uncertainty head, so it has no uncertainty map."
    rows = [
        (
            "Spearman's rho between b and the error ↑ (1 is perfect, 0 is random)",
            f"{measured['spearman']:.3f}",
        ),
        (
            "AUSE, area under the sparsification error ↓ (0 is perfect)",
            f"{measured['ause']:.3f} (random: {measured['ause_chance']:.3f})",
        ),
        ("mean b, grey levels", f"{measured['mean_scale']:.2f}"),
        ("mean cycle error, grey levels", f"{measured['mean_error']:.2f}"),
    ]
    return f"{UNCERTAINTY}\n\n{markdown_table(('per frame, averaged over the adverse frames', ''), rows)}"


UNMEASURED = "It has not been measured with these weights; run `gen evaluate-invention` to add its table here."


def invention(model_dir: Path) -> list[str]:
    """The section on the invention map; empty if the model has none, a hint if it has not been measured."""
    if not (model_dir / FOLDER).is_dir():
        return []
    record = model_dir / FOLDER / FILE_NAME
    measured = _read(record) if record.is_file() else {}
    if measured.get("weights") != identity(model_dir):  # measured with other weights, or at another height
        return [f"{INVENTION}\n\n{UNMEASURED}"]
    command = command_line("evaluate-invention", InventionEvaluation, measured["settings"])
    return [
        "\n\n".join(
            (
                INVENTION,
                TRUSTED.format(seen.used_in_training(measured)),
                invention_table(measured),
                when_measured(measured, command),
            )
        )
    ]


def when_measured(record: Record, command: str) -> str:
    """Date, machine, and the command that repeats the measurement."""
    machine = ", ".join(f"{part}: {what}" for part, what in record["machine"].items() if what)
    return f"Measured on {record['date']} ({machine}); to repeat it with the same folders:\n\n```sh\n{command}\n```"


def evaluation_command(settings: Record) -> str:
    """The command line of a record of `EvaluateSettings`."""
    return command_line("evaluate-augan", EvaluateSettings, settings)


def command_line(command: str, kind: type[EvaluateSettings | InventionEvaluation], settings: Record) -> str:
    """The command line of a record of settings, without defaults and `out`."""
    words = ["gen", command]
    for name, field in kind.__dataclass_fields__.items():
        value, option = settings.get(name), f"--{name.replace('_', '-')}"
        if name == "out" or value in (None, [], field.default):
            continue
        if name == "rival":  # the only option that may be repeated
            words += [word for rival in value for word in (option, rival)]
        else:
            words += [option, *(map(str, value) if isinstance(value, list) else [str(value)])]
    return shlex.join(words)


def _read(path: Path) -> Record:
    try:
        return read_json(path)
    except BadInput as error:
        raise BadInput(f"{error} The model card needs this file.") from error


def _parts(value: object) -> list[tuple[str, Any]]:
    """(part, number) of each part, or ("all", number)."""
    return list(cast(Record, value).items()) if isinstance(value, Mapping) else [("all", value)]


PAIRS = {
    "rendered day": " Frames called rendered are pairs of one moment in adverse\nweather and on a clear day, drawn by "
    "`gen render-street` unless the text below says otherwise.",
    "simulated day": " Simulated frames (`gen simulate-weather`) are paired:\neach was made from its clear-day frame.",
}
"""Data set -> sentence on its pairs."""

DETECTIONS = """Vehicles (cars, motorcycles, buses, trucks), people and traffic lights: mean number per frame that the
detector `{}` finds with a score of at least 0.3. Boxes kept: share of the untouched frames' boxes that are found again,
with a score of at least 0.1. Invented: boxes per frame where the detector found no such object in the untouched frame,
not even with a score of 0.05. This also counts real objects that were too dark to detect, so compare it with the row of
gamma, which only brightens and cannot add a car."""

FLICKER = """Flicker: mean difference in grey levels between consecutive frames of a clip of {frames} frames, along the
optical flow of the source (Farnebäck's, 480 pixels across), minus that of the source itself. All rows went through the
flicker filter that `gen translate` uses by default (`--steady 0.5`), which uses a different optical flow."""

RENDERED = """## Against the truth, on rendered streets

Real frames have no true clear day, but rendered ones do (`gen render-street`). These are adverse-to-normal translations
of streets {} in training, each compared with the same moment on a clear day. An empty image of the right
brightness also has a good PSNR, so read the three scores together, and together with the table of real frames."""

UNCERTAINTY = """## Cycle uncertainty

The map is b = exp(s)/10 of the range [-1, 1], in grey levels: the scale of a Laplace distribution of the cycle error
|x_cyc - x|, that is, the mean error that the network expects after translating to day and back. The loss cannot express
less than 12.75 grey levels, so most of a map is at that minimum. Higher values mark what the cycle is expected to lose:
lamps, reflections, drops, textured signs. It is not the probability that an object is real."""

INVENTION = """## Invention map

Two values for each pixel: the share of the translation that is invented (0 to 1; 1 where it is no more similar to the
true day than to the day of another street), and the expected error in grey levels. A separate network learnt both on
pairs whose true day is known."""

TRUSTED = """On rendered streets {} in training: rank correlation with the truth (↑) and area under the
sparsification error (AUSE ↓), compared with the cycle uncertainty and with two baselines that need no training, the
darkness and the noise of a pixel. On real frames, which have no truth: rank correlation with the signal-to-noise ratio
(should be negative) and with the disagreement of two models (should be positive); the mean in black pixels and in
others; and the mean over boxes that a detector finds only in the translation and over its other boxes, with the
probability that the first is higher (auc; 0.5 is random)."""

LIMITS = """## Limits

- What the weather hides is invented. A translated frame is not evidence, and a detector tested only on translated
  frames has not been tested. Keep the originals.
- Results differ for other cameras, countries, lenses and weather than those of the training frames.
- Each frame is translated separately. On clips, the normalisation statistics are averaged over half a second, and a
  filter along the optical flow smooths the change to each frame; some flicker remains.
- Lamps, signs and reflections may become bright patches; sky and road may get false texture.{}"""

NO_MAP_BACK = "\n- Only the adverse-to-normal direction has an uncertainty map."
HAS_MAP = " In the direction to clear day it\nalso predicts the error of its own cycle for each pixel."
