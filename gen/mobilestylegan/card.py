"""The model card of a MobileStyleGAN generator, generated from the training record."""

from pathlib import Path
from typing import Any

from gen.formats.json_files import read_json
from gen.licences import section
from gen.markdown import markdown_table
from gen.provenance import hardware_sentence
from gen.stylegan2.card import card_head, distance_lines
from gen.training import longer
from gen.training.experiment import write_text
from gen.training.own_code import own_trainer_in
from gen.weights import name_of

TITLES = {"psnr": "PSNR, dB", "ssim": "SSIM", "perceptual": "perceptual distance (SqueezeNet; a loss used it)"}


def write_card(folder: Path) -> Path:
    """MODEL_CARD.md in `folder`, from its training.json."""
    path = folder / "MODEL_CARD.md"
    write_text(path, card(name_of(folder), read_json(folder / "training.json")))
    return path


def card(name: str, record: dict[str, Any]) -> str:
    """The text of the card."""
    s, hardware, teacher = record["settings"], record["hardware"], record["data"]["teacher"]
    tags = "[stylegan2, mobilestylegan, few-shot-adaptation]"
    lines = [
        *card_head(name, record, "MobileStyleGAN (Belousov 2021)", tags),
        "## Training",
        "",
        f"- It learned to draw what `{teacher['name']}` (weights {teacher['fingerprint']}) draws from the same "
        f"latents, from {teacher['count']:,} of its images, scaled to {s['size']} pixels.",
        f"- {record['images_shown']:,} images shown in {record['seconds'] / 60:.0f} minutes on "
        f"{hardware_sentence(hardware)}, {hardware.get('precision', s['precision'])}.",
        f"- Batch {s['batch']}, Adam at {s['lr']:g}; weights of the losses: image {s['image_weight']:g}, wavelet "
        f"{s['wavelet_weight']:g}, perceptual {s['perceptual_weight']:g}; averaged weights (EMA) with a half-life of "
        f"{s['ema_half_life']:,} images.",
        *longer.lines(record),
        *([f"- Trainer: {own}."] if (own := own_trainer_in(record)) else []),
        "",
        *_comparison(record["compared"]),
        *distance_lines(record["distances"], None, None),
        *(["## Limits", "", *(f"- {note}" for note in record["notes"]), ""] if record["notes"] else []),
        section(record["weights_license"]),
        "",
    ]
    return "\n".join(lines)


def _comparison(compared: dict[str, Any]) -> list[str]:
    """The last comparison with the teacher, if there was one."""
    if not compared.get("scores"):
        return []
    rows = [(TITLES[name], f"{value:.4g}") for name, value in compared["scores"].items()]
    return [
        "## Likeness to the teacher",
        "",
        f"{compared['held_out']} seeds that it was not trained on (0 to {compared['held_out'] - 1}), after "
        f"{compared['images']:,} images:",
        "",
        markdown_table(("measure", "value"), rows),
        "",
    ]
