"""A trained precursor as a model folder: weights, training.json and MODEL_CARD.md."""

import json
from pathlib import Path
from typing import Any

from gen.formats.json_files import json_if_whole
from gen.licences import Licence, front_matter, section
from gen.markdown import markdown_table
from gen.provenance import hardware_sentence, portable
from gen.smd.writing import RECORD
from gen.smos.classifiers import save_classifier
from gen.smos.settings import without_folder
from gen.smos.training import SMOSTrainer
from gen.training import longer
from gen.training.data_record import ALGORITHM
from gen.training.experiment import write_text
from gen.training.own_code import in_words
from gen.weights import name_of


def export_precursor(trainer: SMOSTrainer, out: Path, leave_out: dict[str, float], license_: Licence) -> None:
    """Write the classifier at its last step with training.json and MODEL_CARD.md.

    `leave_out`: accuracy on each style's unseen levels by a network that was trained on the other styles.
    """
    save_classifier(trainer.classifier(), out, half=True)
    data = trainer.settings.data
    drawn = trainer.stream is not None or "drawing" in json_if_whole(data / RECORD)
    record: dict[str, Any] = {
        "settings": settings_record(trainer.settings),
        "data": trainer.origin["data"] | {"drawn_by_gen": drawn},
        "loss": trainer.algorithm.describe(trainer.algorithm.options),
        "steps": trainer.images_shown // trainer.settings.batch,
        **longer.recorded(trainer.origin),
        "seconds": trainer.seconds,
        "history": trainer.history,
        "leave_one_style_out": leave_out,
        "hardware": trainer.hardware,
        "license": license_,
    }
    write_text(out / "training.json", json.dumps(record, indent=2) + "\n")
    write_text(out / "MODEL_CARD.md", card(name_of(out), record))


def settings_record(settings: Any) -> dict[str, Any]:
    """The settings for files that are published: paths are reduced to their last part, so that no home is named."""
    values = portable(settings)
    paths = {"data", "val", "precursor", "out", "cache"} & values.keys()
    values |= {name: Path(values[name]).name for name in paths if values[name]}
    return values | ({"algorithm": without_folder(values["algorithm"])} if "algorithm" in values else {})


def card(name: str, record: dict[str, Any]) -> str:
    """The text of a precursor's model card, from its record."""
    lines = [*_head(name, record), *_training(record)]
    last = record["history"][-1] if record["history"] else {}
    if last:
        chance = 1 / len(record["data"]["classes"])
        unseen = "unseen levels" if record["data"]["drawn_by_gen"] else "held-out images"
        lines += [
            f"Accuracy on {unseen}, mean over the styles: {last['validation accuracy']:.1%} (chance {chance:.1%}).",
            "",
        ]
    if record["leave_one_style_out"]:
        lines += _difficulty(record["leave_one_style_out"], record["data"]["drawn_by_gen"])
    return "\n".join([*lines, section(record["license"]), ""])


def _head(name: str, record: dict[str, Any]) -> list[str]:
    what = "game scenes" if record["data"]["drawn_by_gen"] else "images"
    classes, styles = record["data"]["classes"], record["data"].get("domains") or record["data"]["styles"]
    return [
        "---",
        "library_name: gen",
        "pipeline_tag: image-classification",
        f"license: {front_matter(record['license'])}",
        "tags: [domain-generalization, synthetic-data]",
        "---",
        "",
        f"# {name}",
        "",
        f"A {record['settings']['backbone']} classifier of {len(classes)} kinds of {what} ({', '.join(classes)}) "
        f"in {len(styles)} styles ({', '.join(styles)}): a precursor for `gen train-smos --precursor {name}`.",
        "",
    ]


def _training(record: dict[str, Any]) -> list[str]:
    s, hardware, domains = record["settings"], record["hardware"], record["data"].get("domains", {})
    start = {"imagenet": "ImageNet weights", "none": "random weights"}.get(s["weights"], "weights from a file")
    loss = record.get("loss", "cross-entropy")  # records of earlier versions lack it
    if ALGORITHM in record["data"]:
        loss += f" by {in_words(record['data'][ALGORITHM])}"
    folder = f"images of the folder {s['data']}, not known to be drawn by gen"
    what = "scenes drawn by `gen render-smd`, original art" if record["data"]["drawn_by_gen"] else folder
    counts = ", ".join(f"{k} {v:,}" for k, v in domains.items()) or "rendered during training"
    return [
        "## Training",
        "",
        f"- Data: {what}, {s['size']} pixels: {counts}.",
        f"- Started from {start}; {loss}, on all styles, {s['batch']} images of each per step, "
        f"{record['steps']:,} steps, Adam at {s['lr']:g}, batch norms {'frozen' if s['frozen_norms'] else 'trained'}, "
        f"{record['seconds'] / 60:.0f} minutes on {hardware_sentence(hardware)}. The last step is kept.",
        *longer.lines(record),
        "",
    ]


def _difficulty(leave_out: dict[str, float], drawn: bool) -> list[str]:
    return [
        f"## Difficulty of the {'scenes' if drawn else 'images'}",
        "",
        f"Accuracy on {'unseen levels' if drawn else 'held-out images'} in a style that was left out of training, "
        "one run each with the settings above:",
        "",
        markdown_table(("left out", "accuracy"), [(style, f"{value:.1%}") for style, value in leave_out.items()]),
        "",
    ]
