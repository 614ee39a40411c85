"""The page that holds the tabs, and the server around it. Importing this module loads neither gradio nor torch."""

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gen.errors import BadSetting
from gen.media.files import make_out_folder
from gen.plugins import find_class
from gen.web.address import choose_port, without_proxy
from gen.web.brake import checker
from gen.web.jobs import LOCK
from gen.web.settings import WebSettings, check_root, check_runtime, logins

if TYPE_CHECKING:
    from gen.web.service import Service
    from gen.web.tab import Tab

TABS = (
    "gen.web.translate:TranslateTab",
    "gen.web.folder:FolderTab",
    "gen.web.adapt:AdaptTab",
    "gen.web.scenes:ScenesTab",
    "gen.web.shift:ShiftTab",
    "gen.web.models:ModelsTab",
)
"""The tabs, from left to right, as MODULE:CLASS. They bring their kinds of job and their result files with them."""

SESSIONS = 300
"""Sessions that the server remembers, those that were last used; gradio's own limit is 10,000. A session takes nearly a
megabyte, and every call to the API by /call is one. A visitor whose session is forgotten loses what he has not started
yet, such as the list of uploaded files."""
ATTEMPTS = 5
"""How often another port is tried where a server that starts at the same time was quicker."""

INTRO = """{translate}. Adapt a generator to a few sketches. Render scenes. Measure domain shift."""


def build_app(settings: WebSettings, tabs: Sequence[str] = TABS) -> "tuple[Any, Service]":
    """The page (gr.Blocks) and its service. It does not listen yet, and no model is loaded.

    Raises `BadSetting` for a bad `root` or an unknown tab, or if another server uses `results`.
    """
    check_root(settings)
    check_runtime(settings)
    prepare(settings)
    import gradio as gr

    from gen.web import multipart, theme
    from gen.web.choices import introduction
    from gen.web.endpoints import JobEndpoints
    from gen.web.page import Page
    from gen.web.queueing import LaneQueue
    from gen.web.service import Service
    from gen.web.tab import job_kinds

    multipart.install()
    classes = [find_tab(tab) for tab in (*tabs, *settings.tabs)]
    service = Service(settings, job_kinds(classes))
    gr.set_static_paths([service.jobs.root])  # else gradio would copy each result before it serves it
    keep = round(settings.keep_hours * 3600)
    about = INTRO.format(translate=introduction())
    options = {"title": theme.TITLE, "analytics_enabled": False, "delete_cache": (min(keep, 3600), keep)}
    with Page(service.messages, about, **options) as page:
        gr.Markdown(f"# gen\n{about} All data stays on this machine.")
        with gr.Tabs():
            for tab in classes:
                with gr.Tab(tab.TITLE):
                    tab(service).build(page)
        JobEndpoints(service).build()
    page._queue = LaneQueue(page, settings.waiting)  # pyright: ignore[reportPrivateUsage]
    return page, service


def find_tab(name: str) -> "type[Tab]":
    """The class that MODULE:CLASS or FILE.py:CLASS names. Raises `BadSetting` if there is none."""
    found = find_class(name, "tabs")
    from gen.web.tab import Tab  # imports gradio

    if found is None or not issubclass(found, Tab):
        raise BadSetting(f"tabs: {name!r} is not MODULE:CLASS or FILE.py:CLASS of a tab.")
    return found


def prepare(settings: WebSettings) -> None:
    """Set what gradio and Pillow read: no telemetry, uploads in the results' folder, a limit on pixels.

    Raises `BadSetting` if the folder cannot be written.
    """
    # Before gradio is imported: some of its modules read GRADIO_TEMP_DIR at import.
    uploads = settings.results.resolve() / "uploads"
    make_out_folder(uploads)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from PIL import Image

    # Pillow warns above the limit and raises above twice the limit; as an error, the warning stops both.
    Image.MAX_IMAGE_PIXELS = settings.pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def launch(page: Any, settings: WebSettings, **options: Any) -> Any:
    """Listen in a thread, and return what gr.Blocks.launch returns. `options`: more of its arguments.

    Raises `BadSetting` if a login is needed and missing, or if the address cannot be listened on.
    """
    from fastapi.middleware import Middleware

    from gen.web import theme
    from gen.web.guard import Guard
    from gen.web.storage import Storage
    from gen.web.thumbnails import NONE_YET

    users = logins(settings)
    host = f"[{settings.host}]" if ":" in settings.host.strip("[]") else settings.host
    guard = Middleware(
        Guard, settings=settings, storage=Storage(settings.results, settings.disk_gb), login=users is not None
    )
    for attempts_left in reversed(range(ATTEMPTS)):
        port = choose_port(settings)
        try:
            with without_proxy(settings.host):
                return page.launch(
                    server_name=host,
                    server_port=port,
                    share=settings.share,
                    auth=checker(users) if users else None,
                    max_file_size=f"{settings.upload_mb}mb",
                    state_session_capacity=SESSIONS,
                    # gen itself may lie outside the folder in which the server was started.
                    allowed_paths=[str(settings.results.resolve() / "jobs"), str(NONE_YET)],
                    blocked_paths=[str(settings.results.resolve() / "jobs" / LOCK)],
                    app_kwargs={"middleware": [guard]},
                    # What the environment could switch on: servers and pages that nobody asked for.
                    mcp_server=False,
                    ssr_mode=False,
                    enable_monitoring=False,
                    run_history=False,
                    theme=theme.make_theme(),
                    css=theme.STYLE.read_text("utf-8"),
                    head=theme.head(page.description),
                    favicon_path=str(theme.FAVICON),
                    footer_links=["api", "settings"],
                    **{"prevent_thread_lock": True} | options,
                )
        except OSError as error:  # a port that another server has taken a moment ago
            if settings.port is not None or not attempts_left:
                raise BadSetting(f"host={settings.host}, port={port}: cannot be listened on ({error}).") from error
    raise AssertionError("unreachable")
