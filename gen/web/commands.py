"""`gen app` and `python app.py`."""

import contextlib
import signal
import threading
from collections.abc import Sequence
from types import FrameType

import tyro

from gen.locks import check_free
from gen.web.address import choose_port
from gen.web.jobs import LOCK
from gen.web.settings import WebSettings, check_root, check_runtime, logins


def main(arguments: Sequence[str]) -> int:
    """Serve the page until Ctrl-C or SIGTERM; running jobs then continue after the next start."""
    settings = tyro.cli(WebSettings, args=list(arguments), prog="gen app")
    # Checked before the page is imported: gradio and torch take seconds, and a typo should be reported at once.
    logins(settings)
    check_root(settings)
    check_runtime(settings)
    choose_port(settings)
    check_free(settings.results / "jobs", LOCK)
    # Before the page is built, because the jobs of the last server begin to run then.
    for number in (signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGTERM,):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup has set SIGHUP to be ignored
            signal.signal(number, _stop)
    return _serve(settings)


def _serve(settings: WebSettings) -> int:
    from gen.web.app import build_app, launch

    page, service = build_app(settings)
    try:
        launch(page, settings, show_error=True)
        print("Press Ctrl-C to stop.", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        print("\nStopping; running jobs will continue after the next start.", flush=True)
    finally:
        service.jobs.close()
        with contextlib.suppress(Exception):  # it may not listen yet
            page.close(verbose=False)
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
