"""From a model's name or path to its folder."""

import os
from pathlib import Path

from gen.errors import BadInput

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


def weight_folders() -> list[Path]:
    """Where models are looked for by name: $GEN_WEIGHTS, `weights/` here, `weights/` beside the package."""
    named = os.environ.get("GEN_WEIGHTS")
    return [*([Path(named)] if named else []), Path("weights"), SHIPPED]


def available() -> list[str]:
    """Names of the models that can be loaded without a download."""
    found = {f.parent.name for folder in weight_folders() for f in folder.glob("*/model_index.json")}
    return sorted(found)


def resolve(name_or_path: str | os.PathLike[str]) -> str:
    """A folder that holds `model_index.json`, or a hub id (`owner/name`), which diffusers downloads.

    Raises `BadInput` for a name that is neither.
    """
    name = os.fspath(name_or_path)
    for folder in [Path(name), *(root / name for root in weight_folders())]:
        if (folder / "model_index.json").is_file():
            return str(folder)
    if name.count("/") == 1 and not name.startswith((".", "/")) and not Path(name).exists():
        return name
    raise BadInput(
        f"{name}: no model of this name and no folder with a model_index.json; "
        f"models at hand: {', '.join(available()) or 'none'}. $GEN_WEIGHTS names a folder with more."
    )
