"""The tab that lists the models in weights/ and shows their cards."""

import re
from pathlib import Path
from typing import Any

import gradio as gr

from gen import weights
from gen.hda.parsing import ADAPTATION_FILE
from gen.web.events import STATUS, event
from gen.web.service import check_offered, generators
from gen.web.tab import Tab
from gen.web.translation import WEATHER_CLASSIFIER, translators

HEAD = ["model", "used in", "weathers", "MB", "licence"]


def row(name: str, folder: Path) -> list[Any]:
    """A model's row of the table."""
    entry = weights.describe(folder)
    return [name, used_in(entry), ", ".join(entry.weathers), round(entry.megabytes, 1), entry.licence]


def used_in(entry: weights.ModelEntry) -> str:
    """The tab that offers the model."""
    if entry.name in translators():
        return "Translate"
    if entry.name in generators():
        return "Adapt"
    if entry.name in weights.available(ADAPTATION_FILE):
        return "Adapt, step 5"
    return "Translate (auto)" if entry.kind == WEATHER_CLASSIFIER else "training and evaluation"


class ModelsTab(Tab):
    """A table of all models, and the card of one."""

    TITLE = "Models"

    def build(self, page: gr.Blocks) -> None:
        """The table, a choice, the card."""
        folders = weights.model_folders()
        rows = [row(name, folder) for name, folder in folders.items()]
        gr.Dataframe(rows, headers=HEAD, label="Available models", interactive=False, wrap=True)
        first = next(iter(folders), None)
        choice = gr.Dropdown(list(folders), value=first, label="Model card")
        card = gr.Markdown(card_of(first) if first else "")
        choice.change(self.card, [choice], [card], api_name="model_card", **STATUS)

    @event("status")
    def card(self, name: str) -> str:
        """A model's card: its training data, licence and measured quality.

        Args:
            name: name of a model in weights/

        Returns:
            the card as Markdown
        """
        return card_of(name)


def card_of(name: str) -> str:
    """The card of a model, without what only model hubs need. Raises `BadInput` for an unknown name."""
    folders = weights.model_folders()
    check_offered(name, list(folders))
    text = weights.read_card(folders[name]) or "This model has no card."
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)  # front matter for model hubs
    # Its images are files beside the card, which the page does not serve.
    return re.sub(r"!\[[^\]]*\]\((?!http)[^)]*\)", "", text)
