"""How the page looks: theme, style sheet, and what its head says to browsers, search engines and chat apps."""

from pathlib import Path
from typing import Any

FAVICON = Path(__file__).with_name("static") / "favicon.svg"
SCRIPT = Path(__file__).with_name("static") / "page.js"
STYLE = Path(__file__).with_name("static") / "page.css"

MESSAGES = """@media (max-width: 480px) {
  .gradio-container:has(.toast-wrap) {overflow: clip !important}
  .main:has(> .toast-wrap) {display: flex; flex-direction: column}
  .main > .toast-wrap {position: sticky !important; order: -1; top: .4em !important; right: 0 !important;
    width: 100% !important}
}"""
"""On a phone, a message moves the page down instead of covering it. It stands in the head, because gradio lets a style
sheet change only what is inside the tabs."""

TITLE = "gen: night to day, few-shot faces, domain shift"


def head(description: str) -> str:
    """HTML for the page's head: a description for link previews, and the script of gen/web/static."""
    return (
        f'<meta name="description" content="{description}">'
        f'<meta property="og:title" content="{TITLE}"><meta property="og:description" content="{description}">'
        f'<meta property="og:type" content="website"><meta name="twitter:card" content="summary">'
        f"<style>{MESSAGES}</style>"
        f"<script>{SCRIPT.read_text('utf-8')}</script>"
    )


def make_theme() -> Any:
    """Quiet labels above their fields, flat white blocks with a thin border, one accent colour."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    quiet = {
        "background_fill": "transparent",
        "border_width": "0px",
        "padding": "0px",
        "text_weight": "500",
        "text_size": "*text_sm",
        "text_color": "*body_text_color_subdued",
    }
    kinds = ("block_label", "block_title")
    labels = {f"{kind}_{name}": value for kind in kinds for name, value in quiet.items()}
    dark = {f"{kind}_{name}_dark": quiet[name] for kind in kinds for name in ("background_fill", "text_color")}
    return theme.set(
        **labels,
        **dark,
        block_label_shadow="none",
        block_border_width="1px",
        block_shadow="none",
        block_background_fill="*background_fill_primary",
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        input_border_width="1px",
        input_background_fill="*background_fill_primary",
    )
