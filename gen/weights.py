"""From a model's name or path to its folder."""

import json
import os
from pathlib import Path
from typing import Any

from gen.errors import BadInput

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def weight_folders() -> list[Path]:
    """Where models are looked for by name: $GEN_WEIGHTS, `weights/` here, `weights/` beside the package."""
    named = os.environ.get("GEN_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights"), SHIPPED]


def available(index: str = "model_index.json") -> list[str]:
    """Names of the models that can be loaded without a download."""
    found = {f.parent.name for folder in weight_folders() for f in folder.glob(f"*/{index}")}
    return sorted(found)


def read_index(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model folder says of itself in its model_index.json; empty where it cannot be read."""
    try:
        index = json.loads((Path(folder) / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def models_of(pipeline: str) -> list[str]:
    """Names of the models at hand that this pipeline loads, for example "AUGANPipeline"."""
    return [name for name in available() if read_index(resolve(name)).get("_class_name") == pipeline]


def resolve(name_or_path: str | os.PathLike[str], index: str = "model_index.json") -> str:
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
        f"{name}: no model of this name and no folder with a {index}; "
        f"models at hand: {', '.join(available(index)) or 'none'}. $GEN_WEIGHTS names a folder with more."
    )
