"""A whole tab in one file, as somebody outside the package would write it: it writes a text in capitals."""

from typing import ClassVar

import gradio as gr

from gen.web.events import readable_errors
from gen.web.jobs import JobContext
from gen.web.panel import JobPanel
from gen.web.service import JobKind, Service
from gen.web.tab import Tab


def run_upper(service: Service, context: JobContext) -> None:
    text = context.job.inputs["text"]
    (context.folder / "upper.txt").write_text(text.upper())
    context.report(len(text), len(text), unit="letters")


class UpperTab(Tab):
    TITLE = "Upper case"
    JOBS: ClassVar = {"upper": JobKind("letters", run_upper, ("upper.txt", "missing.txt"))}

    def build(self, page: gr.Blocks) -> None:
        text = gr.Textbox(label="Text")
        button = gr.Button("Write it in capitals")
        panel = JobPanel(self.service, "upper")
        button.click(self.start, [text], [panel.number], api_name="start_upper")
        panel.connect(page, [], lambda job: [])

    @readable_errors
    def start(self, text: str) -> str:
        job_id = self.service.jobs.new_folder()
        self.service.jobs.submit("upper", job_id, {"text": text})
        return job_id


class RivalTab(UpperTab):
    JOBS: ClassVar = {"upper": JobKind("letters", run_upper)}
