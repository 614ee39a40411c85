"""The tab that tells what is in weights/."""

import re
from pathlib import Path
from typing import Any

import gradio as gr

from gen import weights
from gen.errors import BadInput
from gen.web.service import plainly

HEAD = ["model", "for", "MB", "licence"]
USES = {"AUGANPipeline": "Translate", "WeatherHead": "Translate (auto)", "HDAPipeline": "Adapt"}


def model_folders() -> dict[str, Path]:
    """Folders with a card or a configuration, by name; the first place where a name is found counts."""
    found: dict[str, Path] = {}
    for root in weights.weight_folders():
        for folder in sorted(root.glob("*/")):
            if (folder / "MODEL_CARD.md").is_file() or (folder / "config.json").is_file():
                found.setdefault(folder.name, folder)
    return found


def describe(name: str, folder: Path) -> list[Any]:
    """A line of the table."""
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6
    configs = [f for f in (folder / "model_index.json", folder / "config.json") if f.is_file()]
    text = configs[0].read_text(encoding="utf-8") if configs else ""
    use = next((tab for network, tab in USES.items() if f'"{network}"' in text), "training, measures")
    return [name, use, round(size, 1), _licence(folder)]


def _licence(folder: Path) -> str:
    card = folder / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    if "research use" in text:
        return "research use only; see its card"
    match = re.search(r"[Ll]icen[cs]e of the weights: (.+)", text) or re.search(r"^license: (.+)", text, re.M)
    return match[1].strip() if match else "see the package that it comes from"


class ModelsTab:
    """Table and cards."""

    def __init__(self) -> None:
        folders = model_folders()
        rows = [describe(name, folder) for name, folder in folders.items()]
        with gr.Tab("Models", id="models"):
            gr.Dataframe(rows, headers=HEAD, label="Models at hand", interactive=False, wrap=True)
            first = next(iter(folders), None)
            choice = gr.Dropdown(list(folders), value=first, label="Model card")
            card = gr.Markdown(self.card(first) if first else "")
            choice.change(self.card, [choice], [card], api_name="model_card")

    @plainly
    def card(self, name: str) -> str:
        """A model's card, with what it was trained on, its licence and its measured numbers.

        Args:
            name: of a model at hand

        Returns:
            Markdown
        """
        folder = model_folders().get(name)
        if folder is None:
            raise BadInput(f"{name}: no such model here.")
        path = folder / "MODEL_CARD.md"
        text = path.read_text(encoding="utf-8") if path.is_file() else "This model has no card."
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
        return re.sub(r"!\[[^\]]*\]\((?!http)[^)]*\)", "", text)  # its pictures are files beside it
