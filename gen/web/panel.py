"""The part of a tab that shows a background job: its progress, a Cancel button, and its number."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from gen.errors import GenError
from gen.web.events import event
from gen.web.jobs import Job
from gen.web.service import Service

Show = Callable[[Job | None], Sequence[Any]]
"""Values of a tab's result components for a job, or for none."""
MAX_PROBLEMS = 20
"""Most problems listed on the page; /job returns all of them."""


class JobPanel:
    """Create it inside a tab. The browser remembers the number, so that a reopened page finds its job again."""

    def __init__(self, service: Service, name: str) -> None:
        """`name`: unique on the page; it keys the number in the browser's storage."""
        self.service, self.name = service, name
        self.status = gr.Markdown("", elem_classes="job-status", container=True)
        with gr.Row():
            self.number = gr.Textbox(
                label="Job number",
                info=f"Enter it in another browser to see this job there. Results are kept for {_kept(service)}.",
                elem_id=f"{name}-job",
                value="",
                scale=4,
            )
            self.cancel = gr.Button("Cancel", variant="stop", interactive=False, scale=1)
        self.timer = gr.Timer(1.0, active=False)

    def connect(self, page: gr.Blocks, outputs: Sequence[Any], show: Show) -> None:
        """Keep the panel and the tab's `outputs` up to date; `show` gives the outputs' values."""
        self.show = show
        everything = [self.status, self.cancel, self.timer, *outputs]
        # Not queued: a visitor must see progress while the queue is full of long events.
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        self.timer.tick(self.refresh, [self.number], everything, **private)
        self.number.change(self.refresh, [self.number], everything, **private)
        self.cancel.click(self.stop, [self.number], everything, **private)
        key = f"gen.{self.name}"
        self.number.change(None, [self.number], None, js=f"number => localStorage.setItem('{key}', number)")
        page.load(None, None, [self.number], js=f"() => localStorage.getItem('{key}') || ''")

    @event("status")
    def refresh(self, number: str) -> list[Any]:
        """The current state of the job, for all components of the panel."""
        return self._state(number)

    @event("status")
    def stop(self, number: str) -> list[Any]:
        """Cancel the job and refresh."""
        with contextlib.suppress(GenError):  # an unknown number: `_state` says so
            self.service.jobs.cancel(number)
        return self._state(number)

    def _state(self, number: str) -> list[Any]:
        """The current state of the job, for all components of the panel."""
        job, text = None, ""
        if number and number.strip():
            try:
                job = self.service.jobs.get(number)
                text = self.service.jobs.describe(job)
                if job.problems:
                    text += "\n\n" + "\n".join(f"- {problem}" for problem in job.problems[-MAX_PROBLEMS:])
            except GenError as error:
                text = str(error)
        busy = job is not None and not job.over
        return [text, gr.Button(interactive=busy), gr.Timer(active=busy), *self.show(job)]


def _kept(service: Service) -> str:
    hours = service.settings.keep_hours
    return f"{hours:g} hour" if hours == 1 else f"{hours:g} hours"
