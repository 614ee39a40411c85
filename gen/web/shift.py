"""The tab that measures how far image domains are apart, and which method of training is best on one left out."""

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr

from gen.errors import BadInput
from gen.web import generalise_job
from gen.web.events import RENDER, event, image_output
from gen.web.generalise import Generalise
from gen.web.names import safe_name
from gen.web.tab import Tab
from gen.web.uploads import gather, lift_only_folder

LETTERS = "ABCD"
HEAD = ["domain", "images", "classes", "ICV (nats²)", "mean pair D_JS (nats)", "IDD from ImageNet (nats)"]
KEYS = ["domain", "images", "classes", "icv", "icv_mean", "idd"]
"""The values of `HEAD` in the table.json of `gen measure-shift`."""


class ShiftTab(Tab):
    """Two to four domains in, a table and plots out; and methods of domain generalisation, as a job."""

    TITLE = "Domain shift"
    JOBS: ClassVar = generalise_job.JOBS

    def build(self, page: gr.Blocks) -> None:
        """Two inner tabs."""
        with gr.Tabs():
            with gr.Tab("Measure"):
                self._measuring()
            with gr.Tab("Generalise"):
                Generalise(self.service).build(page)

    def _measuring(self) -> None:
        """A column for each domain, results below."""
        gr.Markdown(
            "Compare two to four sets of images. ICV: variation within a domain. IDD: distance between domains. "
            "For a more precise ICV, upload a zip with one folder per class."
        )
        fields: list[Any] = []
        with gr.Row():
            for letter in LETTERS:
                with gr.Column(min_width=220):
                    fields.append(gr.Textbox(label=f"Domain {letter}: name", placeholder=f"domain {letter}"))
                    fields.append(gr.File(label=f"Domain {letter}: images", file_count="multiple", height=140))
        button = gr.Button("Measure", variant="primary")
        table = gr.Dataframe(headers=HEAD, label="Domain shift", interactive=False, wrap=True)
        notes = gr.Markdown()
        with gr.Row():
            scatter = image_output("ICV and IDD")
            pairs = image_output("IDD of all pairs")
        file = gr.File(label="Download: table.csv", interactive=False, elem_classes="downloads")
        outputs = [table, notes, scatter, pairs, file]
        button.click(self.measure, fields, outputs, api_name="measure_shift", **RENDER)

    @event("render")
    def measure(self, *fields: Any) -> tuple[Any, ...]:
        """Measure how far image domains are apart.

        Args:
            fields: name and images (or a zip) of each of four domains; leave images empty for unused ones

        Returns:
            the table, notes, a scatter plot, a heat map of all pairs, and the table as CSV
        """
        from gen.shift.survey import MeasureShiftSettings, run

        if sum(map(bool, fields[1::2])) < 2:
            raise BadInput("Choose images for at least two domains.")
        with self.service.new_folder() as folder:
            out = folder / "out"
            try:
                roots, notes = self._domains(fields, folder / "input")
                run(MeasureShiftSettings(roots=tuple(roots), out=out, workers=2))
            finally:
                shutil.rmtree(folder / "input", ignore_errors=True)  # the results need the copies no longer
        record = json.loads((out / "table.json").read_text(encoding="utf-8"))
        rows = [[_cell(domain.get(key)) for key in KEYS] for domain in record["domains"]]
        failed = [f"{Path(file).resolve()}: {why}" for file, why in record["failed"].items()]
        notes += [*record["notes"], *map(self.service.messages.plain, failed)]
        text = "\n".join(f"- {note}" for note in notes)
        return rows, text, str(out / "scatter.png"), str(out / "pairwise.png"), str(out / "table.csv")

    def _domains(self, fields: tuple[Any, ...], root: Path) -> tuple[list[Path], list[str]]:
        """Copy each domain to a folder of its name below `root`. Returns the folders and the rejected files."""
        folders: list[Path] = []
        problems: list[str] = []
        root.mkdir()
        for letter, name, files in zip(LETTERS, fields[::2], fields[1::2], strict=True):
            if not files:
                continue
            path = root / safe_name(name or f"domain {letter}")
            if path.exists():
                raise BadInput(f"{path.name}: two domains have this name; rename one.")
            problems += gather(files, path, self.service.limits(), clips=False)[1]
            lift_only_folder(path)
            folders.append(path)
        return folders, problems


def _cell(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
