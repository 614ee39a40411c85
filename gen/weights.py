"""Model folders: find one by name, and read its metadata without loading the model.

A model folder holds `model_index.json` (a pipeline), `config.json` (a single network) or only weights, and usually
`MODEL_CARD.md`. No other module reads a folder's kind or licence: ask `kind` or `describe`.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.errors import BadInput

SHIPPED = Path(__file__).resolve().parent.parent / "weights"
INDEX = "model_index.json"
CONFIG = "config.json"
CARD = "MODEL_CARD.md"


def weight_folders() -> list[Path]:
    """Folders that are searched for models, in order: $GEN_WEIGHTS, `weights/` here, `weights/` beside the package."""
    named = os.environ.get("GEN_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights"), SHIPPED]


def available(index: str = INDEX) -> list[str]:
    """Names of the models that can be loaded without a download."""
    found = {f.parent.name for folder in weight_folders() for f in folder.glob(f"*/{index}")}
    return sorted(found)


def resolve(name_or_path: str | os.PathLike[str], index: str = INDEX) -> str:
    """A folder that holds `index`, or a hub id (`owner/name`), which diffusers downloads.

    `index` is config.json for a network without a pipeline. Raises `BadInput` for a name that is neither.
    """
    name = os.fspath(name_or_path)
    for folder in [Path(name), *(root / name for root in weight_folders())]:
        if (folder / index).is_file():
            return str(folder)
    if name.count("/") == 1 and not name.startswith((".", "/")) and not Path(name).exists():
        return name
    raise BadInput(
        f"unknown model {name!r}, and no folder with a {index}; available: "
        f"{', '.join(available(index)) or 'none'}. Set $GEN_WEIGHTS to a folder that holds more models."
    )


def read_index(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a folder's model_index.json; {} where there is none or it is not a JSON object."""
    return _read_json(Path(folder) / INDEX)


def kind(folder: str | os.PathLike[str]) -> str | None:
    """The class that a model folder was saved from, for example "AUGANPipeline" or "WeatherHead".

    None for a folder that holds weights alone, and for a hub id, which is unknown before its download.
    """
    # A pipeline's folder may also hold the config.json of a part, so the index comes first.
    name = (read_index(folder) or _read_json(Path(folder) / CONFIG)).get("_class_name")
    return name if isinstance(name, str) else None


def models_of(*kinds: str) -> list[str]:
    """Names of the available pipelines of these kinds, for example "AUGANPipeline"."""
    return [name for name in available() if kind(resolve(name)) in kinds]


@dataclass(frozen=True)
class ModelEntry:
    """What is known of a model folder without loading the model."""

    name: str
    folder: Path
    kind: str | None
    """As `kind` returns it."""
    weathers: tuple[str, ...]
    """The weathers that its configuration names: those a translator removes, or those a classifier knows."""
    megabytes: float
    """Size of all files, 10^6 bytes."""
    licence: str
    """One line from the model card."""
    table: str | None
    """The first table of the model card, as Markdown."""


def describe(folder: str | os.PathLike[str]) -> ModelEntry:
    """The entry of one model folder."""
    folder = Path(folder)
    config = read_index(folder) or _read_json(folder / CONFIG)
    card = read_card(folder) or ""
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    weathers = tuple(config.get("weathers") or ())
    return ModelEntry(folder.name, folder, kind(folder), weathers, size / 1e6, _licence(card), first_table(card))


def model_folders() -> dict[str, Path]:
    """All available model folders by name, pipelines or not. The first folder of a name hides the others."""
    found: dict[str, Path] = {}
    for root in weight_folders():
        for folder in sorted(root.glob("*/")):
            if any((folder / file).is_file() for file in (INDEX, CONFIG, CARD)):
                found.setdefault(folder.name, folder)
    return found


def read_card(folder: Path) -> str | None:
    """The text of a folder's MODEL_CARD.md; None where there is none."""
    card = folder / CARD
    return card.read_text(encoding="utf-8") if card.is_file() else None


def first_table(markdown: str) -> str | None:
    """The first Markdown table in a text: a header row, a row of dashes, and the rows below."""
    table = re.search(r"^\|.+\n\|[ :|-]*-[ :|-]*(\n\|.+)*", markdown, re.M)
    return table[0] if table else None


def _licence(card: str) -> str:
    # Cards say "research use" in many sentences. It outranks the other patterns: their front matter only says "other".
    if "research use" in card:
        return "research use only; see its card"
    match = re.search(r"[Ll]icen[cs]e of the weights: (.+)", card) or re.search(r"^license: (.+)", card, re.M)
    return match[1].strip() if match else "see the package that it comes from"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
