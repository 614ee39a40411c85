"""The choice of a model, and of a direction in that model's own words."""

from typing import Any

import gradio as gr

from gen.translation.registry import translators
from gen.translation.settings import AUTO, TranslateSettings
from gen.translation.weathers import any_of, directions_of, sentence, weathers_of


def model_dropdown(auto: bool = False) -> gr.Dropdown:
    """The translators at hand; with `auto` also the one that fits each picture's weather."""
    models = sorted(translators(), key=lambda name: name != TranslateSettings.model)  # the command line's comes first
    choices = [*models, AUTO] if auto and models else models
    info = "auto: for each picture, the model made for its weather" if auto else None
    return gr.Dropdown(choices, value=models[0] if models else None, label="Model", info=info)


def direction_radio(model: gr.Dropdown) -> gr.Radio:
    """What the chosen model can do; its words follow when another is chosen."""
    return gr.Radio(**_offer(model.value), label="Direction", min_width=300)


def follow(model: gr.Dropdown, direction: gr.Radio) -> None:
    """Let the words of `direction` be those of the model that is chosen."""

    def reworded(name: str | None) -> gr.Radio:
        return gr.Radio(**_offer(name))

    model.change(reworded, [model], [direction], api_visibility="private", show_progress="hidden")


def _offer(model: str | None) -> dict[str, Any]:
    """Choices and value of the radio buttons."""
    if model == AUTO or model not in translators():
        choices = [("To clear day, each picture by the model made for its weather", "adverse_to_normal")]
    else:
        choices = [(sentence(d, weathers_of(model)), d) for d in directions_of(model)]
    return {"choices": choices, "value": choices[0][1] if choices else None}


def introduction() -> str:
    """What the translators at hand can do, for the head of the page."""
    known = list(dict.fromkeys(weather for model in translators() for weather in weathers_of(model)))
    back = " and back" if any("normal_to_adverse" in directions_of(model) for model in translators()) else ""
    return f"Translate dash-cam frames from {any_of(known) or 'adverse weather'} to clear day{back}"
