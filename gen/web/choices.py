"""The inputs that choose a translation model and a direction, labelled with the model's weathers."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from gen import weights
from gen.web.sizes import INFO, SIZES, size_choices
from gen.web.translation import (
    AUTO,
    TranslateSettings,
    any_of,
    directions_of,
    measured,
    sentence,
    translators,
    weathers_of,
)
from gen.weights import NONE_FOUND, model_folders

HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""For events that only update the page."""


def model_dropdown(auto: bool = False) -> gr.Dropdown:
    """The available translation models; with `auto` also "auto", which picks one for each image by its weather."""
    # The command line's default comes first, so that page and command line agree.
    models = sorted(translators(), key=lambda name: name != TranslateSettings.model)
    choices = [*models, AUTO] if auto and models else models
    info = "auto: detects the weather of each image and picks the model for it" if auto else None
    return gr.Dropdown(choices, value=models[0] if models else None, label="Model", info=info)


def direction_radio(model: gr.Dropdown) -> gr.Radio:
    """The directions of the model that is selected at first."""
    return gr.Radio(**_options(model.value), label="Direction", min_width=300)


def size_radio(model: gr.Dropdown, sizes: Sequence[str] = SIZES) -> gr.Radio:
    """The sizes at which the model that is selected may run."""
    size = gr.Radio(size_choices(model.value, sizes), value="fast", label="Working size", info=INFO, min_width=300)

    def update(name: str | None) -> gr.Radio:
        return gr.Radio(size_choices(name, sizes))

    model.change(update, [model], [size], **HIDDEN)
    return size


def measured_note(model: gr.Dropdown, direction: gr.Radio) -> gr.Markdown:
    """How well the model that is selected translates in this direction."""
    return gr.Markdown(_measured(model.value, direction.value), elem_classes="measured")


def licence_of(model: str | None) -> str:
    """What may be done with pictures of a model; empty for one that is not there."""
    folder = model_folders().get(model or "")
    return weights.licence_of(folder) if folder else ""


def follow(model: gr.Dropdown, direction: gr.Radio, measured: gr.Markdown) -> None:
    """Update the directions and the note when another model is selected."""

    def update(name: str | None) -> list[Any]:
        options = _options(name)
        return [gr.Radio(**options), _measured(name, options["value"])]

    model.change(update, [model], [direction, measured], **HIDDEN)
    direction.input(_measured, [model, direction], [measured], **HIDDEN)


def _measured(model: str | None, direction: str | None) -> str:
    if model == AUTO:
        return "Each image is translated by the model for its weather; the Models tab says how good each is."
    if not translators():
        return NONE_FOUND
    if model not in translators() or direction not in directions_of(model):
        return ""
    return f"{measured(model, direction)}\n\n{licence_of(model)}"


def _options(model: str | None) -> dict[str, Any]:
    """Choices and value of the radio buttons."""
    if model == AUTO or model not in translators():
        choices = [("To clear day, by the model for each image's weather", "adverse_to_normal")]
    else:
        choices = [(sentence(d, weathers_of(model)), d) for d in directions_of(model)]
    return {"choices": choices, "value": choices[0][1] if choices else None}


def introduction() -> str:
    """What the available models translate, for the head of the page."""
    known = list(dict.fromkeys(weather for model in translators() for weather in weathers_of(model)))
    back = " and back" if any("normal_to_adverse" in directions_of(model) for model in translators()) else ""
    return f"Translate dash-cam images from {any_of(known) or 'adverse weather'} to clear day{back}"
