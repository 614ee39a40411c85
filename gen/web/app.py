"""The page that holds the tabs, and the server around it. Importing this module loads neither gradio nor torch."""

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gen.errors import BadSetting
from gen.plugins import import_plugin
from gen.web.settings import WebSettings, check_root, logins

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

CSS = """
.legend {display: flex; align-items: center; gap: .6em; font-size: .85em; flex-wrap: wrap}
.legend i {flex: 1; min-width: 6em; height: .9em; border-radius: .3em;
  background: linear-gradient(90deg, #2a0593, #8f0da4, #cc4778, #f89540, #f0f921)}
.job-status {min-height: 2.2em}
.downloads .empty {min-height: 4em !important}
footer {opacity: .7}
@media (max-width: 480px) {.gradio-container {padding: .4em !important} .legend b {flex-basis: 100%}}
"""
INTRO = """# gen
{translate}. Adapt a generator to a few sketches.
Render scenes. Measure domain shift. All data stays on this machine."""


def build_app(settings: WebSettings, tabs: Sequence[str] = TABS) -> "tuple[Any, Service]":
    """The page (gr.Blocks) and its service. It does not listen yet, and no model is loaded.

    Raises `BadSetting` for a bad `root` or an unknown tab, or if another server uses `results`.
    """
    check_root(settings)
    prepare(settings)
    import gradio as gr

    from gen.web.choices import introduction
    from gen.web.service import Service
    from gen.web.tab import job_kinds

    classes = [find_tab(tab) for tab in (*tabs, *settings.tabs)]
    service = Service(settings, job_kinds(classes))
    keep = round(settings.keep_hours * 3600)
    with gr.Blocks(title="gen", analytics_enabled=False, delete_cache=(min(keep, 3600), keep)) as page:
        gr.Markdown(INTRO.format(translate=introduction()))
        with gr.Tabs():
            for tab in classes:
                with gr.Tab(tab.TITLE):
                    tab(service).build(page)
        _add_job_endpoints(service)
    page.queue(max_size=settings.waiting, default_concurrency_limit=4)
    return page, service


def find_tab(name: str) -> "type[Tab]":
    """The class that MODULE:CLASS or FILE.py:CLASS names. Raises `BadSetting` if there is none."""
    module, _, attribute = name.rpartition(":")
    found = getattr(import_plugin(module, "tabs"), attribute, None) if module else None
    from gen.web.tab import Tab  # imports gradio

    if not (isinstance(found, type) and issubclass(found, Tab)):
        raise BadSetting(f"tabs: {name!r} is not MODULE:CLASS or FILE.py:CLASS of a tab.")
    return found


def _add_job_endpoints(service: "Service") -> None:
    """The endpoints by which scripts follow any job: /job, /cancel_job and /job_results."""
    import gradio as gr

    from gen.web.events import readable_errors

    @readable_errors
    def job(number: str) -> dict[str, Any]:
        """Progress of a job.

        Args:
            number: the job's number, as the endpoint that started it returned it

        Returns:
            state (waiting, running, done, failed, cancelled), done, of, unit, said (all of it as one line), problems
        """
        found = service.jobs.get(number)
        names = ("state", "done", "of", "unit", "problems")
        return {name: getattr(found, name) for name in names} | {"said": service.jobs.describe(found)}

    @readable_errors
    def cancel_job(number: str) -> dict[str, Any]:
        """Cancel a job. Finished results are kept.

        Args:
            number: the job's number

        Returns:
            the same as /job
        """
        service.jobs.cancel(number)
        return job(number)

    @readable_errors
    def job_results(number: str) -> list[str]:
        """Download the results of a job.

        Args:
            number: the job's number

        Returns:
            the files: a zip of all results, or single files
        """
        return service.result_files(service.jobs.get(number))

    gr.api(job, api_name="job")
    gr.api(cancel_job, api_name="cancel_job")
    # gr.api returns JSON alone. Files need an output component, so this endpoint hangs on an invisible field.
    number, files = gr.Textbox(visible=False), gr.File(visible=False, file_count="multiple")
    number.submit(job_results, [number], [files], api_name="job_results")


def prepare(settings: WebSettings) -> None:
    """Set what gradio and Pillow read: no telemetry, uploads in the results' folder, a limit on pixels."""
    # Before gradio is imported: some of its modules read GRADIO_TEMP_DIR at import.
    results = settings.results.resolve()
    (results / "uploads").mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(results / "uploads")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from PIL import Image

    # Pillow warns above the limit and raises above twice the limit; as an error, the warning stops both.
    Image.MAX_IMAGE_PIXELS = settings.pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def launch(page: Any, settings: WebSettings, **options: Any) -> Any:
    """Listen. `options`: more arguments of gr.Blocks.launch. Raises `BadSetting` if a login is needed and missing."""
    import gradio as gr

    return page.launch(
        server_name=settings.host,
        server_port=settings.port,
        share=settings.share,
        auth=logins(settings),
        max_file_size=f"{settings.upload_mb}mb",
        allowed_paths=[str(settings.results.resolve() / "jobs")],
        theme=gr.themes.Soft(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=CSS,
        footer_links=["api", "settings"],
        **options,
    )
