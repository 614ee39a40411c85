"""`gen app` and `python app.py`."""

from collections.abc import Sequence

import tyro

from gen.web.settings import WebSettings, check_root, logins


def main(arguments: Sequence[str]) -> int:
    """Serve the page until Ctrl-C."""
    settings = tyro.cli(WebSettings, args=list(arguments), prog="gen app")
    # Checked before the page is imported: gradio and torch take seconds, and a typo should be reported at once.
    logins(settings)
    check_root(settings)
    from gen.web.app import build_app, launch

    page, service = build_app(settings)
    try:
        launch(page, settings, show_error=True)
    finally:
        service.jobs.close()
    return 0
