"""The tab that translates many files: uploads, zips, or a folder on the server."""

from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput
from gen.media.folders import find_stills
from gen.media.images import decode_still, encode_still
from gen.web import translate_job
from gen.web.choices import HIDDEN, direction_radio, follow, measured_note, model_dropdown, size_radio
from gen.web.estimate import count_frames, kind_of
from gen.web.events import readable_errors, server_folder
from gen.web.job import Job
from gen.web.limits import inside
from gen.web.names import Unused, utf8
from gen.web.panel import JobPanel, chosen
from gen.web.service import check_offered
from gen.web.sizes import FOLDER_SIZES, folder_size
from gen.web.tab import Tab
from gen.web.translation import AUTO, check_translation, translators
from gen.web.uploads import gather

SHOWN = 12
"""Most images in the gallery."""
MAPS = [
    ("No map", "none"),
    ("In colour", "map"),
    ("Laid over the translation", "overlay"),
    ("As numbers (16-bit PNG)", "raw"),
]


class FolderTab(Tab):
    """Runs `gen translate` as a job and shows its progress and latest results."""

    TITLE = "Folder"
    JOBS: ClassVar = translate_job.JOBS

    def build(self, page: gr.Blocks) -> None:
        """Files on the left, settings on the right, the job and its results below."""
        with gr.Row():
            with gr.Column(min_width=300):
                files = gr.File(label="Images, clips, or zips of them", file_count="multiple", height=180)
                folder = gr.File(label="Or a folder; sub-folders are kept", file_count="directory", height=180)
                server = server_folder("Or a folder on the server", self.service.settings)
            with gr.Column(min_width=300):
                model = model_dropdown(auto=True)
                direction = direction_radio(model)
                size = size_radio(model, FOLDER_SIZES)
                follow(model, direction, measured_note(model, direction))
                uncertainty = gr.Radio(MAPS, value="none", label="Also save the map of each image")
                button = gr.Button("Translate all", variant="primary")
                forecast = gr.Markdown(elem_classes="note")
        panel = JobPanel(self.service, "folder")
        gallery = gr.Gallery(
            label="Latest results; click one to compare it with its source",
            columns=4,
            format="jpeg",
            height="auto",
            interactive=False,
            object_fit="contain",
            fit_columns=False,
            allow_preview=False,
            buttons=[],
            elem_classes="results",
        )
        slider = gr.ImageSlider(format="jpeg", label="Before and after", interactive=False, visible=False)
        listed = gr.State([])
        downloads = gr.File(
            label="Downloads: all results in a zip, report",
            file_count="multiple",
            interactive=False,
            elem_classes="downloads",
        )
        inputs = [files, direction, model, uncertainty, server, folder, size]
        button.click(self.start, inputs, [panel.number], api_name="start_folder")
        for changed in (files, folder, model, size):
            changed.change(self.forecast, [files, folder, model, size], [forecast], **HIDDEN)
        gallery.select(self.compare, [panel.number, listed], [slider], api_visibility="private")
        panel.connect(page, [gallery, listed, downloads], self._show)

    @readable_errors
    def start(
        self,
        files: list[str] | None,
        direction: str = "adverse_to_normal",
        model: str = "augan-night2day",
        uncertainty: str = "none",
        server_folder: str = "",
        folder: list[str] | None = None,
        resolution: str = "fast",
    ) -> str:
        """Start to translate many files. Follow the job with /job.

        Args:
            files: images, clips, or zips of them
            direction: adverse_to_normal (to clear day) or normal_to_adverse (from clear day to the model's weather)
            model: name of a model in weights/, or auto: picks a model for each image by its weather
            uncertainty: save an uncertainty map beside each image: none, map (in colour), overlay or raw (16 bits)
            server_folder: a folder on the server instead of files, if the server shares one
            folder: more files, as the page sends those of a folder
            resolution: size at which the network runs: fast (as trained) or native

        Returns:
            the number of the job
        """
        check_offered(model, [*translators(), AUTO])
        server_folder = server_folder or ""  # a script may leave it out
        jobs, files = self.service.jobs, [*(files or []), *(folder or [])]
        if not files and not server_folder.strip():
            raise BadInput("Choose images, clips or a zip of them first.")
        source = inside(self.service.settings.root, server_folder) if server_folder.strip() else None
        settings = {
            "direction": direction,
            "model": model,
            "uncertainty": uncertainty,
            "resolution": folder_size(resolution),
        }
        check_translation(settings)
        with self.service.new_job() as job_id:
            problems: list[str] = []
            unused = Unused()
            if source is None:
                source = jobs.folder(job_id) / "input"
                _, problems = gather(files, source, self.service.limits(), unused=unused)
            inputs = {"source": str(source), "settings": settings, "renamed": unused.told(source)}
            jobs.submit("translate", job_id, inputs, problems)
            return job_id

    @readable_errors
    def forecast(self, files: list[str] | None, folder: list[str] | None, model: str, size: str) -> str:
        """How long the files that are chosen will take."""
        chosen = [*(files or []), *(folder or [])]
        frames = count_frames(chosen, self.service.settings)
        return self.service.pace.forecast(model, folder_size(size), kind_of(chosen), frames)

    def _show(self, job: Job | None) -> list[Any]:
        if job is None:
            return [None, [], None]
        out = self.service.jobs.folder(job.id) / "output"
        stills = find_stills(out, quiet=True, sides=True)
        images = sorted((p for p in stills if utf8(str(p)) == str(p)), key=_modified)[
            -SHOWN:
        ]  # the browser asks by name
        shown: Any = [(str(path), path.name) for path in images] if images else gr.skip()
        names = [str(path.relative_to(out)) for path in images]
        return [shown, names, self.service.result_files(job) if job.over else None]

    @readable_errors
    def compare(self, number: str, listed: list[str], event: gr.SelectData) -> Any:
        """The source and the translation of the picture that was clicked; hidden where there is no such source."""
        job = self.service.jobs.get(number)
        name = chosen(listed, event)
        out, source = self.service.jobs.folder(job.id) / "output", Path(job.inputs["source"])
        if not name or not (source / name).is_file():  # nothing was clicked, or a map
            return gr.ImageSlider(visible=False)
        with self.service.new_folder() as folder:
            pair = (folder / "before.jpg", folder / "after.jpg")
            for path, root in zip(pair, (source, out), strict=True):
                encode_still(path, decode_still(root / name), quality=92)
        return gr.ImageSlider((str(pair[0]), str(pair[1])), visible=True)


def _modified(path: Path) -> float:
    """When the file was written; 0 if the running job has just replaced it."""
    try:
        return path.stat().st_ctime  # translations keep the st_mtime of their source
    except OSError:
        return 0.0
