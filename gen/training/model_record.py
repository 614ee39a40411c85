"""What a model folder says of the run that trained it, for methods whose export writes no record of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.licences import Licence, front_matter, section
from gen.markdown import markdown_table
from gen.provenance import hardware_sentence, portable
from gen.training import longer
from gen.training.experiment import write_text
from gen.training.loop import Trainer
from gen.training.own_code import KEY, in_words
from gen.weights import CARD, name_of

NAME = "training.json"
FOLDERS = ("preset", "adverse", "normal", "out")
"""Settings that a record names elsewhere, or that say nothing away from the machine of the run."""


def write_record(trainer: Trainer[Any], model: Path, licence: Licence = "unstated") -> None:
    """Write `model`/training.json: settings, code of one's own, data, length, time and machine; and a card of them."""
    settings = {name: value for name, value in portable(trainer.settings).items() if name not in FOLDERS}
    record = {
        "preset": trainer.settings.preset,
        "settings": settings,
        **trainer.origin,
        "images_shown": trainer.images_shown,
        "seconds": trainer.seconds,
        "core_seconds": trainer.core_seconds,
        "hardware": trainer.hardware,
        "weights_license": licence,
    }
    write_text(model / NAME, json.dumps(record, indent=2) + "\n")
    write_text(model / CARD, card(name_of(model), record))


def card(name: str, record: Mapping[str, Any]) -> str:
    """The text of a model card that says no more than the record: gen does not know the method."""
    code = f" by {in_words(record[KEY])}" if KEY in record else ""
    settings = markdown_table(("setting", "value"), [(key, f"`{value}`") for key, value in record["settings"].items()])
    changes = longer.in_words(record)
    return f"""---
library_name: gen
license: {front_matter(record["weights_license"])}
---

# {name}

Trained{code}, for {record["images_shown"]:,} images of each domain ({record["core_seconds"] / 60:.0f} core-minutes), on
{hardware_sentence(record["hardware"])}.{f" Schedule changed: {changes}." if changes else ""}
This card has no measurements; `gen evaluate-augan --model {name} --out DIR` makes them.

## Data

```json
{json.dumps(record["data"], indent=2)}
```

## Settings

{settings}

{section(record["weights_license"])}
"""
