"""Classifiers on disk: a folder with config.json and safetensors, and for what is shipped a record and a card."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gen import weights
from gen.errors import BadInput
from gen.provenance import machine, portable
from gen.smos.backbones import Classifier

if TYPE_CHECKING:
    from gen.smos.training import SMOSTrainer

CONFIG = "config.json"
SHARD = "15MB"
PRECURSOR_WEIGHTS = "precursor weights"
"""Name of a precursor's fingerprint in a run's record."""


def load_classifier(name_or_folder: str | Path) -> Classifier:
    """A classifier that `save_pretrained` wrote, by folder or by the name of a shipped one, in float32, on the CPU.

    Raises `BadInput` for what is none.
    """
    folder = weights.resolve(name_or_folder, CONFIG)
    try:
        return Classifier.from_pretrained(folder, torch_dtype=torch.float32).eval()
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{folder}: this is no classifier ({str(error).splitlines()[0]}).") from error


def fingerprint(classifier: Classifier) -> str:
    """Of its weights: 16 digits of the SHA-256 over all numbers."""
    digest = hashlib.sha256()
    for name, value in sorted(classifier.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def save_classifier(classifier: Classifier, folder: Path, half: bool = False) -> None:
    """Write config and weights; `half` stores float16, half the size."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = Classifier(**{k: v for k, v in classifier.config.items() if not k.startswith("_")})
    saved.load_state_dict(classifier.state_dict())
    (saved.half() if half else saved).save_pretrained(folder, max_shard_size=SHARD)


def settings_record(settings: Any) -> dict[str, Any]:
    """The settings for a record that leaves this machine: of paths only the last part."""
    values = portable(settings)
    paths = {"data", "val", "precursor", "out", "cache"} & values.keys()
    return values | {name: Path(values[name]).name for name in paths if values[name]}


def export_precursor(trainer: "SMOSTrainer", out: Path, leave_out: dict[str, float], license_: str) -> None:
    """The classifier at its last step with training.json and MODEL_CARD.md.

    `leave_out`: accuracy on each style's unseen levels by a network trained on the other styles.
    """
    save_classifier(trainer.student, out, half=True)
    record: dict[str, Any] = {
        "settings": settings_record(trainer.settings),
        "data": trainer.data_record(),
        "steps": trainer.images_shown // trainer.settings.batch,
        "seconds": trainer.seconds,
        "history": trainer.history,
        "leave_one_style_out": leave_out,
        "hardware": machine(trainer.device),
        "license": license_,
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    (out / "MODEL_CARD.md").write_text(card(out.name, record))


def card(name: str, record: dict[str, Any]) -> str:
    """The text of a precursor's card, from its record."""
    s, hardware = record["settings"], record["hardware"]
    device = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores"
    classes, domains = record["data"]["classes"], record["data"].get("domains", {})
    begun = {"imagenet": "ImageNet weights", "none": "random weights"}.get(s["weights"], "a file of weights")
    counts = ", ".join(f"{k} {v:,}" for k, v in domains.items()) or "rendered as it was needed"
    last = record["history"][-1] if record["history"] else {}
    lines = [
        "---",
        "library_name: gen",
        "pipeline_tag: image-classification",
        "license: other",
        "tags: [domain-generalization, synthetic-data]",
        "---",
        "",
        f"# {name}",
        "",
        f"{s['backbone']} that tells {len(classes)} kinds of game scenes ({', '.join(classes)}) in four styles: "
        f"a precursor for `gen train-smos --precursor {name}`.",
        "",
        "## Training",
        "",
        f"- Data: scenes drawn by `gen render-smd`, original art, {s['size']} pixels: {counts}.",
        f"- Begun with {begun}; cross-entropy on all styles, {s['batch']} images of each in a step, "
        f"{record['steps']:,} steps, Adam at {s['lr']:g}, batch norms {'frozen' if s['frozen_norms'] else 'learning'}, "
        f"{record['seconds'] / 60:.0f} minutes on {device}, torch {hardware['torch']}. The last step is kept.",
        f"- Licence of the weights: {record['license']}.",
        "",
    ]
    if last:
        lines += [
            f"Accuracy on levels that it has not seen, mean over the styles: {last['validation accuracy']:.1%} "
            f"(chance {1 / len(classes):.1%}).",
            "",
        ]
    if record["leave_one_style_out"]:
        lines += [
            "## How hard the scenes are",
            "",
            "Accuracy on unseen levels in a style that was left out of the training, one run each with the settings "
            "above:",
            "",
            "| left out | accuracy |",
            "|---|---|",
            *(f"| {style} | {value:.1%} |" for style, value in record["leave_one_style_out"].items()),
            "",
        ]
    return "\n".join(lines)
