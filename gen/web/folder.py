"""The tab that translates many files: uploads, zips, or a folder on the server."""

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput
from gen.media.folders import find_stills
from gen.web import translate_job
from gen.web.choices import direction_radio, follow, model_dropdown
from gen.web.events import readable_errors
from gen.web.jobs import Job
from gen.web.limits import inside
from gen.web.names import utf8
from gen.web.panel import JobPanel
from gen.web.service import check_offered
from gen.web.tab import Tab
from gen.web.translation import AUTO, check_translation, translators
from gen.web.uploads import gather

SHOWN = 12
"""Most images in the gallery."""


class FolderTab(Tab):
    """Runs `gen translate` as a job and shows its progress and latest results."""

    TITLE = "Folder"
    JOBS: ClassVar = translate_job.JOBS

    def build(self, page: gr.Blocks) -> None:
        """Files on the left, settings on the right, the job and its results below."""
        with gr.Row():
            with gr.Column(min_width=300):
                files = gr.File(label="Images, clips, or zips of them", file_count="multiple", height=180)
                server = gr.Textbox(
                    label="Or a folder on the server",
                    value="",
                    info="Path inside the server's shared folder",
                    visible=self.service.settings.root is not None,
                )
            with gr.Column(min_width=300):
                model = model_dropdown(auto=True)
                direction = direction_radio(model)
                follow(model, direction)
                uncertainty = gr.Radio(
                    ["none", "map", "overlay", "raw"], value="none", label="Also save uncertainty maps as"
                )
                button = gr.Button("Translate all", variant="primary")
        panel = JobPanel(self.service, "folder")
        gallery = gr.Gallery(label="Latest results", columns=4, format="jpeg", height="auto", interactive=False)
        downloads = gr.File(
            label="Downloads: all results in a zip, report",
            file_count="multiple",
            interactive=False,
            elem_classes="downloads",
        )
        inputs = [files, direction, model, uncertainty, server]
        button.click(self.start, inputs, [panel.number], api_name="start_folder")
        panel.connect(page, [gallery, downloads], self._show)

    @readable_errors
    def start(
        self,
        files: list[str] | None,
        direction: str = "adverse_to_normal",
        model: str = "augan-night2day",
        uncertainty: str = "none",
        server_folder: str = "",
    ) -> str:
        """Start to translate many files. Follow the job with /job.

        Args:
            files: images, clips, or zips of them
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/, or auto: picks a model for each image by its weather
            uncertainty: save an uncertainty map beside each image: none, map (in colour), overlay or raw (16 bits)
            server_folder: a folder on the server instead of files, if the server shares one

        Returns:
            the number of the job
        """
        check_offered(model, [*translators(), AUTO])
        server_folder = server_folder or ""  # a script may leave it out
        jobs = self.service.jobs
        if not files and not server_folder.strip():
            raise BadInput("Choose images, clips or a zip of them first.")
        source = inside(self.service.settings.root, server_folder) if server_folder.strip() else None
        settings = {
            "direction": direction,
            "model": model,
            "uncertainty": uncertainty,
            "device": self.service.device(),
        }
        check_translation(settings)
        with self.service.new_job() as job_id:
            problems: list[str] = []
            if source is None:
                source = jobs.folder(job_id) / "input"
                _, problems = gather(files or [], source, self.service.limits())
            jobs.submit("translate", job_id, {"source": str(source), "settings": settings}, problems)
            return job_id

    def _show(self, job: Job | None) -> list[Any]:
        if job is None:
            return [None, None]
        folder = self.service.jobs.folder(job.id)
        stills = find_stills(folder / "output", quiet=True)
        images = sorted((p for p in stills if utf8(str(p)) == str(p)), key=_modified)  # the browser asks by name
        shown: Any = [(str(p), p.name) for p in images[-SHOWN:]] if images else gr.skip()
        return [shown, self.service.result_files(job) if job.over else None]


def _modified(path: Path) -> float:
    """When the file was written; 0 if the running job has just replaced it."""
    try:
        return path.stat().st_ctime  # translations keep the st_mtime of their source
    except OSError:
        return 0.0
