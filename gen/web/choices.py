"""The inputs that choose a translation model and a direction, labelled with the model's weathers."""

from typing import Any

import gradio as gr

from gen.web.translation import AUTO, TranslateSettings, any_of, directions_of, sentence, translators, weathers_of


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


def follow(model: gr.Dropdown, direction: gr.Radio) -> None:
    """Update the directions when another model is selected."""

    def update(name: str | None) -> gr.Radio:
        return gr.Radio(**_options(name))

    model.change(update, [model], [direction], api_visibility="private", show_progress="hidden")


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
