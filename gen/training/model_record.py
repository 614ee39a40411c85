"""What a model folder says of the run that trained it, for methods whose export writes no record of its own."""

import json
from pathlib import Path
from typing import Any

from gen.provenance import portable
from gen.training.experiment import write_text
from gen.training.loop import Trainer

NAME = "training.json"
FOLDERS = ("preset", "adverse", "normal", "out")
"""Settings that a record names elsewhere, or that say nothing away from the machine of the run."""


def write_record(trainer: Trainer[Any], model: Path) -> None:
    """Write `model`/training.json: settings, code of one's own, data, length, time and machine."""
    settings = {name: value for name, value in portable(trainer.settings).items() if name not in FOLDERS}
    record = {
        "preset": trainer.settings.preset,
        "settings": settings,
        **trainer.origin,
        "images_shown": trainer.images_shown,
        "seconds": trainer.seconds,
        "core_seconds": trainer.core_seconds,
        "hardware": trainer.hardware,
    }
    write_text(model / NAME, json.dumps(record, indent=2) + "\n")
