"""Which command trained a run, told by its settings: records do not name the command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.errors import BadInput
from gen.training.own_code import KEY

TOLD_BY = {
    "train-augan": "transfer_blocks",
    "train-cyclegan": "identity_weight",
    "train-stylegan2": "mapping_layers",
    "train-mobilestylegan": "teacher_images",
    "train-invention": "echoes",
    "adapt": "domains",
    "train-smos": "algorithm",
}
"""For each command, a setting that its runs have and no others, in all versions."""

EXPORTS = {n: n.replace("train-", "export-") for n in TOLD_BY if n.startswith("train-") and n != "train-smos"}


def check_trained_by(run: Path, state: Mapping[str, Any], command: str) -> None:
    """Raises `BadInput`, which names what trained the run, if a checkpoint's settings are not those of `command`."""
    settings = state["settings"]
    if TOLD_BY[command] in settings:  # first: a trainer of the user's own may have further settings
        return
    found = next((name for name, setting in TOLD_BY.items() if setting in settings), None)
    if found is None and state.get(KEY):
        own = state[KEY]["class"]
        raise BadInput(f"{run}: the run of {own} trained other networks than gen {command}; give a run of that.")
    if found is None:
        raise BadInput(f"{run}: this is no run of gen {command}; give one.")
    right = f"use gen {EXPORTS[found]}" if found in EXPORTS else f"give a run of gen {command}"
    raise BadInput(f"{run} is a run of gen {found}; {right}.")
