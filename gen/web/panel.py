"""The part of a tab that shows a long job: what it is at, a button to stop it, and its number to come back to it."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from gen.errors import GenError
from gen.web.jobs import Job
from gen.web.service import Service

Show = Callable[[Job | None], Sequence[Any]]


class JobPanel:
    """Made within a tab; the browser remembers the number, so that a closed tab finds its job again."""

    def __init__(self, service: Service, name: str) -> None:
        self.service, self.name = service, name
        self.status = gr.Markdown("", elem_classes="job-status", container=True)
        with gr.Row():
            self.number = gr.Textbox(
                label="Job number",
                info="Keep it to come back from another browser; results are kept for a day.",
                elem_id=f"{name}-job",
                value="",
                scale=4,
            )
            self.cancel = gr.Button("Cancel", variant="stop", interactive=False, scale=1)
        self.timer = gr.Timer(1.0, active=False)

    def connect(self, demo: gr.Blocks, outputs: Sequence[Any], show: Show) -> None:
        """Show the job's results too. `show`: a job, or none, -> values for `outputs`."""
        self.show = show
        everything = [self.status, self.cancel, self.timer, *outputs]
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        self.timer.tick(self.look, [self.number], everything, **private)
        self.number.change(self.look, [self.number], everything, **private)
        self.cancel.click(self.stop, [self.number], everything, **private)
        key = f"gen.{self.name}"
        self.number.change(None, [self.number], None, js=f"number => localStorage.setItem('{key}', number)")
        demo.load(None, None, [self.number], js=f"() => localStorage.getItem('{key}') || ''")

    def look(self, number: str) -> list[Any]:
        """The job now, for all components of the panel."""
        job, text = None, ""
        if number.strip():
            try:
                job = self.service.jobs.get(number)
                text = self.service.jobs.describe(job)
                if job.problems:
                    text += "\n\n" + "\n".join(f"- {problem}" for problem in job.problems[-20:])
            except GenError as error:
                text = str(error)
        busy = job is not None and not job.over
        return [text, gr.Button(interactive=busy), gr.Timer(active=busy), *self.show(job)]

    def stop(self, number: str) -> list[Any]:
        """Cancel and look."""
        with contextlib.suppress(GenError):
            self.service.jobs.cancel(number)
        return self.look(number)
