"""The model card of a StyleGAN2 generator, generated from the training record."""

from pathlib import Path
from typing import Any

from gen.formats.json_files import read_json
from gen.licences import front_matter, section
from gen.markdown import markdown_table
from gen.provenance import hardware_sentence
from gen.training import longer
from gen.training.experiment import write_text
from gen.training.own_code import own_trainer_in
from gen.weights import name_of


def write_card(folder: Path) -> Path:
    """MODEL_CARD.md in `folder`, from its training.json."""
    record = read_json(folder / "training.json")
    path = folder / "MODEL_CARD.md"
    write_text(path, card(name_of(folder), record))
    return path


def card(name: str, record: dict[str, Any]) -> str:
    """The text of the card."""
    s, data, hardware = record["settings"], record["data"]["images"], record["hardware"]
    lines = [
        *card_head(name, record, "StyleGAN2 (configuration F in shape)", "[stylegan2, few-shot-adaptation]"),
        "## Training",
        "",
        f"- Data: {data['count']} images of `{data['folder']}`, scaled to {s['size']} pixels.",
        f"- {record['images_shown']:,} images shown in {record['seconds'] / 60:.0f} minutes on "
        f"{hardware_sentence(hardware)}, {hardware.get('precision', s['precision'])}.",
        *([f"- Initial weights: `{s['start_from']}`."] if s.get("start_from") else []),
        f"- Batch {s['batch']}, Adam at {s['lr']:g}, {_discriminator(s)}, path length weight {s['path_weight']:g}, "
        f"{_augmentation(s)}, averaged weights (EMA) with a half-life of "
        f"{s['ema_half_life']:,} images.",
        *longer.lines(record),
        *([f"- Trainer: {own}."] if (own := own_trainer_in(record)) else []),
        "",
        *distance_lines(record["distances"], data["folder"], "efficientnet-lite0" if _is_projected(s) else None),
        *(["## Limits", "", *(f"- {note}" for note in record["notes"]), ""] if record["notes"] else []),
        section(record["weights_license"]),
        "",
    ]
    return "\n".join(lines)


def card_head(name: str, record: dict[str, Any], kind: str, tags: str) -> list[str]:
    """The first lines of a generator's card, down to its training. `kind`: what it is; `tags`: a YAML list."""
    size = record["settings"]["size"]
    return [
        "---",
        "library_name: gen",
        "pipeline_tag: unconditional-image-generation",
        f"license: {front_matter(record['weights_license'])}",
        f"tags: {tags}",
        "---",
        "",
        f"# {name}",
        "",
        f"{kind} for images of {size}x{size} pixels, {record['parameters'] / 1e6:.1f} million parameters; a source "
        "model for `gen adapt`.",
        "",
        "![uncurated samples, truncation 0.7, seeds 0 to 63](samples.jpg)",
        "",
        "```python",
        "from gen import HDAPipeline",
        "",
        f'pipe = HDAPipeline.from_pretrained("{name}")',
        'pipe(seeds=[0, 1, 2], truncation=0.7).images[0].save("image.png")',
        "```",
        "",
    ]


def _discriminator(s: dict[str, Any]) -> str:
    """Older records know one discriminator only."""
    if _is_projected(s):
        return "a projected discriminator on EfficientNet-Lite0 (Sauer et al. 2021)"
    return f"R1 {s['r1_gamma']:g}"


def _is_projected(s: dict[str, Any]) -> bool:
    return s.get("adversary") == "projected"


def _augmentation(s: dict[str, Any]) -> str:
    """Which augmentation the images had: ADA comes instead of DiffAugment. Older records know no ADA."""
    if s.get("ada_target"):
        return f"adaptive augmentation (ADA) with a target of {s['ada_target']:g}"
    return f"DiffAugment {'on' if s['augment'] else 'off'}"


def distance_lines(figures: dict[str, Any], trained_on: str | None, took_part: str | None) -> list[str]:
    """The section on distances to a folder of images; empty if none were measured.

    `trained_on`: the folder of the training images; others may have been measured. Older records do not say.

    `took_part`: the feature network that the discriminator used.
    """
    if not figures:
        return []
    folder = figures.get("folder", trained_on)
    what = "training images" if folder == trained_on else f"images of `{folder}`"
    rows = [
        (f"{title}; the discriminator used it" if name == took_part else title, f"{value:.4g}")
        for name, network in figures.items()
        if isinstance(network, dict)
        for title, value in network.items()
        if title != "title"
    ]
    return [
        f"## Distance to the {what}",
        "",
        f"{figures['images']:,} generated images (truncation 1), {figures['reference_images']:,} {what}:",
        "",
        markdown_table(("measure", "value"), rows),
        "",
    ]
