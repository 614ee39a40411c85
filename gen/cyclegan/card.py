"""The model card of a CycleGAN: where its weights come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.formats.json_files import read_json
from gen.licences import front_matter, section
from gen.media.files import write_atomically
from gen.training import longer
from gen.training.own_code import own_trainer_in
from gen.translation.weathers import directions_of, sentence, weathers_of
from gen.weights import name_of


def write_card(folder: Path) -> Path:
    """Write `folder`/MODEL_CARD.md from its training.json, of a run or of a conversion. Returns its path."""
    record = read_json(folder / "training.json")
    lines = [sentence(d, weathers_of(folder)) for d in directions_of(folder)]
    of_files = "that of the files above and of the data that they were trained on, which the files do not name"
    licence = of_files if "converted" in record else record.get("weights_license", "unstated")
    text = f"""---
library_name: gen
pipeline_tag: image-to-image
license: {front_matter(licence)}
---

# {name_of(folder)}

{". ".join(lines)}.

ResNet generators of CycleGAN (Zhu et al., ICCV 2017) or CUT (Park et al., ECCV 2020). There are no uncertainty maps.

```sh
gen translate FRAMES OUT --model {name_of(folder)}
```

## Weights

{_converted(record) if "converted" in record else _trained(record)}

{section(licence)}
"""
    card = folder / "MODEL_CARD.md"
    with write_atomically(card) as path:
        path.write_text(text, encoding="utf-8")
    return card


def _converted(record: Mapping[str, Any]) -> str:
    files = "\n".join(f"- {direction}: {name}" for direction, name in record["converted"].items())
    return f"""Converted by `gen convert` from

{files}"""


def _trained(record: Mapping[str, Any]) -> str:
    minutes = record["core_seconds"] / 60
    own = own_trainer_in(record)
    made_longer = "".join(f"\n\n{line.removeprefix('- ')}" for line in longer.lines(record))
    return f"""Trained by `gen train-cyclegan`, preset {record["preset"]}, for {record["images_shown"]:,} images of each
domain ({minutes:.0f} core-minutes){f", with the trainer {own}," if own else ","} on

```json
{json.dumps(record["data"], indent=2)}
```{made_longer}"""
