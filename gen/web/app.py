"""The page that holds the tabs, and the server around it."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import tyro

from gen.web.settings import WebSettings, check_root, logins

CSS = """
.legend {display: flex; align-items: center; gap: .6em; font-size: .85em; flex-wrap: wrap}
.legend i {flex: 1; min-width: 6em; height: .9em; border-radius: .3em;
  background: linear-gradient(90deg, #2a0593, #8f0da4, #cc4778, #f89540, #f0f921)}
.job-status {min-height: 2.2em}
.downloads .empty {min-height: 4em !important}
footer {opacity: .7}
@media (max-width: 480px) {.gradio-container {padding: .4em !important}}
"""
INTRO = """# gen
{translate}; adapt a generator to a few sketches;
render scenes; measure domain shift. Everything stays on this machine."""


def build_app(settings: WebSettings) -> tuple[Any, Any]:
    """The page (gr.Blocks) and its service; nothing listens yet, and no model is loaded."""
    check_root(settings)
    prepare(settings)
    import gradio as gr

    from gen.web.adapt import AdaptTab
    from gen.web.choices import introduction
    from gen.web.folder import FolderTab
    from gen.web.models import ModelsTab
    from gen.web.scenes import ScenesTab
    from gen.web.service import Service, plainly
    from gen.web.shift import ShiftTab
    from gen.web.translate import TranslateTab

    service = Service(settings)

    @plainly
    def job(number: str) -> dict[str, Any]:
        """What a job is at.

        Args:
            number: as the event that started it returned

        Returns:
            state (waiting, running, done, failed, cancelled), done, of, unit, said, problems
        """
        found = service.jobs.get(number)
        names = ("state", "done", "of", "unit", "problems")
        return {name: getattr(found, name) for name in names} | {"said": service.jobs.describe(found)}

    @plainly
    def cancel_job(number: str) -> dict[str, Any]:
        """Stop a job; what is finished is kept.

        Args:
            number: of the job

        Returns:
            as /job
        """
        service.jobs.cancel(number)
        return job(number)

    @plainly
    def job_results(number: str) -> list[str]:
        """Files that a job has left: the zip of all, or single ones.

        Args:
            number: of the job

        Returns:
            files to download
        """
        folder = service.jobs.folder(service.jobs.get(number).id)
        names = ("results.zip", "output/report.json", "run/adaptation.safetensors")
        return [str(folder / name) for name in names if (folder / name).exists()]

    keep = round(settings.keep_hours * 3600)
    with gr.Blocks(title="gen", analytics_enabled=False, delete_cache=(min(keep, 3600), keep)) as demo:
        gr.Markdown(INTRO.format(translate=introduction()))
        with gr.Tabs():
            TranslateTab(service, demo)
            FolderTab(service, demo)
            AdaptTab(service, demo)
            ScenesTab(service, demo)
            ShiftTab(service)
            ModelsTab()
        gr.api(job, api_name="job")
        gr.api(cancel_job, api_name="cancel_job")
        number, files = gr.Textbox(visible=False), gr.File(visible=False, file_count="multiple")
        number.submit(job_results, [number], [files], api_name="job_results")
    demo.queue(max_size=settings.waiting, default_concurrency_limit=4)
    return demo, service


def prepare(settings: WebSettings) -> None:
    """What must be set before gradio is imported: no calls home, uploads below the results' folder, no pixel bombs."""
    results = settings.results.resolve()
    (results / "uploads").mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_TEMP_DIR"] = str(results / "uploads")
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = settings.pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def launch(demo: Any, settings: WebSettings, **more: Any) -> Any:
    """Listen. Raises `BadSetting` where a login is needed and there is none."""
    import gradio as gr

    return demo.launch(
        server_name=settings.host,
        server_port=settings.port,
        share=settings.share,
        auth=logins(settings),
        max_file_size=f"{settings.upload_mb}mb",
        allowed_paths=[str(settings.results.resolve() / "jobs")],
        theme=gr.themes.Soft(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=CSS,
        footer_links=["api", "settings"],
        **more,
    )


def main(arguments: Sequence[str]) -> int:
    """`gen app` and `python app.py`."""
    settings = tyro.cli(WebSettings, args=list(arguments), prog="gen app")
    logins(settings)
    demo, service = build_app(settings)
    try:
        launch(demo, settings, show_error=True)
    finally:
        service.jobs.close()
    return 0
