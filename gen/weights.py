"""Model folders: find one by name, and read its metadata without loading the model.

A model folder holds `model_index.json` (a pipeline), `config.json` (a single network) or only weights, and usually
`MODEL_CARD.md`. No other module reads a folder's kind or licence: ask `kind` or `describe`.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.errors import BadInput, short, unknown
from gen.formats.json_files import LARGEST_CONFIG, json_if_whole
from gen.licences import in_short, section

SHIPPED = Path(__file__).resolve().parent.parent / "weights"
INDEX = "model_index.json"
CONFIG = "config.json"
CARD = "MODEL_CARD.md"

NONE_FOUND = (
    "No model found. A package that is installed without the repository has none: get the repository's folder weights, "
    "and set $GEN_WEIGHTS to it."
)

HUB_OPTIONS = {"revision", "cache_dir", "token", "local_files_only", "force_download"}
"""Options of `from_pretrained` that concern the download."""

HUB_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
"""An owner or a model's name on the hub."""

USUAL_FOLDERS = {"weights", "models", "model", "runs", "run", "checkpoints", "out", "output", "data", "gen", "tmp"}
"""Names of folders: `weights/typo` is a mistake in a path, not a model of the hub."""

CLIP = "openai/clip-vit-base-patch32"
"""The network of the hub that encodes pictures and words in `gen adapt`, where it is on this machine."""

NETWORK_WEIGHTS, TOKENIZERS = ("model.safetensors", "pytorch_model.bin"), ("tokenizer.json", "vocab.json")
"""Files of which a network of transformers, and a tokenizer, has at least one."""

WEIGHT_SUFFIXES = {".pt", ".pth", ".pkl", ".safetensors", ".json", ".ckpt", ".bin", ".onnx", ".whl"}


def name_of(model: str | os.PathLike[str]) -> str:
    """The name of a model, or of its folder, which may be given as `.` from inside it."""
    return Path(os.path.abspath(model)).name


def weight_folders() -> list[Path]:
    """Folders that are searched for models, in order: $GEN_WEIGHTS, `weights/` here, `weights/` beside the package."""
    named = os.environ.get("GEN_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights"), SHIPPED]


def available(index: str = INDEX) -> list[str]:
    """Names of the models that can be loaded without a download."""
    found = {f.parent.name for folder in weight_folders() for f in folder.glob(f"*/{index}")}
    return sorted(found)


def resolve(name_or_path: str | os.PathLike[str], index: str = INDEX) -> str:
    """A folder that holds `index`, or a hub id (`owner/name`); `fetch` downloads that.

    `index` is config.json for a network without a pipeline. Raises `BadInput` for a name that is neither.
    """
    name = os.fspath(name_or_path)
    for folder in [Path(name), *(root / name for root in weight_folders())]:
        if _is_file(folder / index):
            return str(folder)
    if _is_hub_id(name):
        return name
    if not available(index):
        raise BadInput(f"{unknown('model', name, ())} {NONE_FOUND}")
    raise BadInput(
        f"{unknown('model', name, available(index))} A model is a folder with a {index}; set $GEN_WEIGHTS to a folder "
        "that holds more models."
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have: too long, or with a zero byte
        return False


def _is_hub_id(name: str) -> bool:
    """Whether a name can only mean a model of the hub. Nothing that looks like a path is ever sent there."""
    owner, _, model = name.partition("/")
    if not (re.fullmatch(HUB_NAME, owner) and re.fullmatch(HUB_NAME, model)) or Path(model).suffix in WEIGHT_SUFFIXES:
        return False
    folders = {*USUAL_FOLDERS, *(root.name for root in weight_folders())}
    return owner.lower() not in folders and not os.path.lexists(owner)


def fetch(name_or_path: str | os.PathLike[str], index: str = INDEX, **options: Any) -> Path:
    """The folder of a model, downloaded if it is a hub id: its JSON, safetensors and card, nothing else.

    `options` go to `huggingface_hub.snapshot_download`. Raises `BadInput`.
    """
    found = resolve(name_or_path, index)
    if os.path.isdir(found):
        return Path(found)
    from huggingface_hub import snapshot_download

    try:
        # Without a revision, as users expect, it is the newest one: these files hold values and no code.
        return Path(snapshot_download(found, allow_patterns=["*.json", "*.safetensors", CARD], **options))  # nosec B615
    except Exception as error:  # no network, no such model, no permission: the client has a dozen kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(
            f"{found}: no such model here, and it cannot be downloaded from the hub ({short(reason, 200)})."
        ) from error


def network_folder(network: str, *needed: Sequence[str]) -> Path | None:
    """The folder of a transformers network of the hub, if it is on this machine; nothing is downloaded or asked for.

    That is a folder in a weights folder with the last part of its name, else the newest one in the hub's cache.
    `needed`: it has one file of each of these; default `NETWORK_WEIGHTS`.
    """
    if not re.fullmatch(f"{HUB_NAME}/{HUB_NAME}", network):
        return None
    from huggingface_hub import try_to_load_from_cache

    folders = [root / network.rpartition("/")[2] for root in weight_folders()]
    if isinstance(config := try_to_load_from_cache(network, CONFIG), str):
        folders.append(Path(config).parent)
    kinds = [(CONFIG,), *(needed or (NETWORK_WEIGHTS,))]
    return next((f for f in folders if all(any(_is_file(f / file) for file in files) for files in kinds)), None)


def clip_folder() -> Path | None:
    """The folder of CLIP for pictures and words, if it is on this machine; as `network_folder`."""
    return network_folder(CLIP, NETWORK_WEIGHTS, TOKENIZERS)


def read_index(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a folder's model_index.json; {} where there is none or it is not a JSON object."""
    return json_if_whole(Path(folder) / INDEX, LARGEST_CONFIG)


def kind(folder: str | os.PathLike[str]) -> str | None:
    """The class that a model folder was saved from, for example "AUGANPipeline" or "WeatherHead".

    None for a folder that holds weights alone, and for a hub id, which is unknown before its download.
    """
    # A pipeline's folder may also hold the config.json of a part, so the index comes first.
    name = (read_index(folder) or json_if_whole(Path(folder) / CONFIG, LARGEST_CONFIG)).get("_class_name")
    return name if isinstance(name, str) else None


def texts(value: Any) -> list[str]:
    """The texts in a list of a foreign file; [] for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


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
    """One line from the model card; where there is none yet, from the record of the export."""
    table: str | None
    """The first table of the model card, as Markdown."""


def describe(folder: str | os.PathLike[str]) -> ModelEntry:
    """The entry of one model folder."""
    folder = Path(folder)
    config = read_index(folder) or json_if_whole(folder / CONFIG, LARGEST_CONFIG)
    card = read_card(folder) or ""
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    weathers = tuple(texts(config.get("weathers")))
    licence = _licence(folder, card)
    return ModelEntry(name_of(folder), folder, kind(folder), weathers, size / 1e6, licence, first_table(card))


def licence_of(model: str | os.PathLike[str]) -> str:
    """What may be done with pictures of a model, in a sentence or two; empty for one that is not on this machine."""
    try:
        folder = Path(resolve(model))
    except BadInput:
        return ""
    return in_short(describe(folder).licence) if folder.is_dir() else ""


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
    return read_written(card) if card.is_file() else None


def read_written(file: Path) -> str:
    """A text that people may have written, in UTF-8 or in the encoding of an old editor."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return file.read_text(encoding="latin-1")


def first_table(markdown: str) -> str | None:
    """The first Markdown table in a text: a header row, a row of dashes, and the rows below."""
    table = re.search(r"^\|.+\n\|[ :|-]*-[ :|-]*(\n\|.+)*", markdown, re.M)
    return table[0] if table else None


def _licence(folder: Path, card: str) -> str:
    if not card:  # `gen evaluate-augan` writes it
        said = json_if_whole(folder / "training.json", LARGEST_CONFIG).get("weights_license")
        card = section(said if isinstance(said, str) else "unstated")
    match = re.search(r"[Ll]icen[cs]e of the weights: (.+)", card)
    if match:
        return match[1].strip().rstrip(".")
    if "research use" in card:  # of an earlier version, whose front matter only says "other"
        return "research use only; see its card"
    match = re.search(r"^license: (.+)", card, re.M)
    return match[1].strip() if match else "not stated; see its card"
