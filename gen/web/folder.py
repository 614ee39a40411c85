"""The tab that translates many files: uploads, zips, or a folder on the server."""

from pathlib import Path
from typing import Any

import gradio as gr

from gen.errors import BadInput
from gen.media.folders import find_stills
from gen.translation.registry import translators
from gen.translation.settings import AUTO
from gen.web.choices import direction_radio, follow, model_dropdown
from gen.web.jobs import Job
from gen.web.limits import gather, inside
from gen.web.panel import JobPanel
from gen.web.service import Service, check_offered, plainly
from gen.web.work import RESULTS

SHOWN = 12


class FolderTab:
    """Starts the engine of `gen translate` as a job and shows how it goes."""

    def __init__(self, service: Service, demo: gr.Blocks) -> None:
        self.service = service
        with gr.Tab("Folder", id="folder"):
            with gr.Row():
                with gr.Column(min_width=300):
                    files = gr.File(label="Pictures, clips, or a zip of them", file_count="multiple", height=180)
                    server = gr.Textbox(
                        label="Or a folder on the server",
                        value="",
                        info="Its name below the folder that is open to visitors",
                        visible=service.settings.root is not None,
                    )
                with gr.Column(min_width=300):
                    model = model_dropdown(auto=True)
                    direction = direction_radio(model)
                    follow(model, direction)
                    uncertainty = gr.Radio(
                        ["none", "map", "overlay", "raw"], value="none", label="Also write the model's map as"
                    )
                    button = gr.Button("Translate all", variant="primary")
            panel = JobPanel(service, "folder")
            gallery = gr.Gallery(label="The last results", columns=4, format="jpeg", height="auto", interactive=False)
            downloads = gr.File(
                label="Downloads: all in a zip, and the report",
                file_count="multiple",
                interactive=False,
                elem_classes="downloads",
            )
            inputs = [files, direction, model, uncertainty, server]
            button.click(self.start, inputs, [panel.number], api_name="start_folder")
            panel.connect(demo, [gallery, downloads], self._show)

    @plainly
    def start(
        self,
        files: list[str] | None,
        direction: str = "adverse_to_normal",
        model: str = "augan-night2day",
        uncertainty: str = "none",
        server_folder: str = "",
    ) -> str:
        """Begin to translate many files; follow it with /job.

        Args:
            files: pictures, clips, or zips of them
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/, or auto: for each picture the one that was made for its weather
            uncertainty: none, map, overlay or raw: written beside each picture
            server_folder: a folder on the server instead of files, where the server allows it

        Returns:
            the number of the job
        """
        check_offered(model, [*translators(), AUTO])
        jobs = self.service.jobs
        if not files and not server_folder.strip():
            raise BadInput("No file was given; choose pictures, clips or a zip of them.")
        named = inside(self.service.settings.root, server_folder) if server_folder.strip() else None
        ident = jobs.new_folder()
        problems: list[str] = []
        source = named
        if source is None:
            source = jobs.folder(ident) / "input"
            _, problems = gather(files or [], source, self.service.settings)
        settings = {
            "direction": direction,
            "model": model,
            "uncertainty": uncertainty,
            "device": self.service.device(),
        }
        jobs.submit("translate", ident, {"source": str(source), "settings": settings}, problems)
        return ident

    def _show(self, job: Job | None) -> list[Any]:
        if job is None:
            return [None, None]
        folder = self.service.jobs.folder(job.id)
        pictures = sorted(find_stills(folder / "output"), key=_age)
        shown: Any = [(str(p), p.name) for p in pictures[-SHOWN:]] if pictures else gr.skip()
        files = [folder / RESULTS, folder / "output" / "report.json"]
        return [shown, [str(f) for f in files if f.exists()] if job.over else None]


def _age(path: Path) -> float:
    """When the file was written; 0 if it has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
