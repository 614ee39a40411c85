"""The choice of a model on the page."""

from gen.web import choices


def test_the_page_begins_with_the_command_lines_model(monkeypatch):
    """Not with the first by name: someone who came for nights would be given fog."""
    monkeypatch.setattr(choices, "translators", lambda: ["augan-fog2clear", "augan-night2day", "zebra"])
    dropdown = choices.model_dropdown(auto=True)
    assert dropdown.value == "augan-night2day"
    assert [value for _, value in dropdown.choices] == ["augan-night2day", "augan-fog2clear", "zebra", "auto"]
