"""Which command trained a run, told by its settings: records do not name the command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.errors import BadInput

TOLD_BY = {
    "train-augan": "transfer_blocks",
    "train-cyclegan": "identity_weight",
    "train-stylegan2": "mapping_layers",
    "train-invention": "echoes",
    "adapt": "domains",
    "train-smos": "algorithm",
}
"""For each command, a setting that its runs have and no others, in all versions."""

EXPORTS = {name: name.replace("train-", "export-") for name in list(TOLD_BY)[:4]}


def check_trained_by(run: Path, settings: Mapping[str, Any], command: str) -> None:
    """Raises `BadInput`, which names the right command, if the recorded settings are not those of `command`."""
    if TOLD_BY[command] in settings:  # first: a trainer of the user's own may have further settings
        return
    found = next((name for name, setting in TOLD_BY.items() if setting in settings), None)
    if found is None:
        raise BadInput(f"{run}: this is no run of gen {command}; give one.")
    right = f"use gen {EXPORTS[found]}" if found in EXPORTS else f"give a run of gen {command}"
    raise BadInput(f"{run} is a run of gen {found}; {right}.")
