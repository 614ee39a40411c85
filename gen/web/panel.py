"""The part of a tab that shows background jobs: progress, a Cancel button, the visitor's earlier jobs."""

import contextlib
import html
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from gen.errors import GenError
from gen.web.duration import duration
from gen.web.events import PRIVATE, event
from gen.web.job import Job
from gen.web.service import Service
from gen.web.thumbnails import thumbnail

Show = Callable[[Job | None], Sequence[Any]]
"""Values of a tab's result components for a job, or for none."""
MAX_PROBLEMS = 20
"""Most problems listed on the page; /job returns all of them."""
MAX_JOBS = 12
"""Most earlier jobs that are shown."""

REMEMBER = """number => {
  const key = 'gen.%s', all = JSON.parse(localStorage.getItem(key) || '[]').filter(known => known !== number);
  if (number) localStorage.setItem(key, JSON.stringify([number, ...all].slice(0, %d)));
  localStorage.setItem(key + '.shown', number);
  return localStorage.getItem(key) || '[]';
}"""
RECALL = "() => [localStorage.getItem('gen.%s.shown') || '', localStorage.getItem('gen.%s') || '[]']"
"""The browser remembers the numbers of its jobs, so that a page that is opened again finds them."""


class JobPanel:
    """Create it inside a tab, then `connect` it."""

    def __init__(self, service: Service, name: str, title: Callable[[Job], str] = lambda job: "") -> None:
        """`name`: unique on the page; it keys the numbers in the browser's storage. `title`: what a job is called."""
        self.service, self.name, self.title = service, name, title
        with gr.Row(equal_height=True):
            self.status = gr.HTML("", elem_classes="job-status", min_height=0)
            self.cancel = gr.Button("Cancel", variant="stop", visible=False, scale=0, min_width=120)
        self.number = gr.Textbox(
            label="Job number",
            info=f"Enter it in another browser to see this job there. Results are kept for {_kept(service)}.",
            elem_id=f"{name}-job",
            value="",
            render=False,
        )
        self.timer = gr.Timer(1.0, active=False)
        self.mine = gr.Textbox(visible=False)
        """Numbers of this browser's jobs, as JSON."""
        self.listed = gr.State([])
        """Numbers of the jobs in the gallery."""
        self.state = gr.Textbox(visible=False)
        """Number and state of the job that is shown."""

    def connect(self, page: gr.Blocks, outputs: Sequence[Any], show: Show, again: Any = None) -> None:
        """Keep the panel and the tab's `outputs` up to date; `show` gives the outputs' values.

        `again`: the event that starts the job anew. Call it where the list of earlier jobs is to be seen.
        """
        self.show = show
        with gr.Accordion("Your earlier jobs", open=False):
            jobs = gr.Gallery(
                label="Click one to see it",
                columns=6,
                height="auto",
                allow_preview=False,
                interactive=False,
                object_fit="contain",
                fit_columns=False,
                format="jpeg",
                buttons=[],
                elem_classes="results",
            )
            self.number.render()
        everything = [self.status, self.cancel, self.timer, self.state, *outputs]
        self.timer.tick(self.refresh, [self.number], everything, **PRIVATE)
        self.number.change(self.refresh, [self.number], everything, **PRIVATE)
        self.cancel.click(self.stop, [self.number], everything, **PRIVATE)
        if again:  # the same job goes on
            again.success(self.refresh, [self.number], everything, **PRIVATE)
        self.number.change(None, [self.number], [self.mine], js=REMEMBER % (self.name, MAX_JOBS))
        self.mine.change(self.list_jobs, [self.mine], [jobs, self.listed], **PRIVATE)
        self.state.change(self.list_jobs, [self.mine], [jobs, self.listed], **PRIVATE)
        jobs.select(chosen, [self.listed], [self.number], **PRIVATE)
        page.load(None, None, [self.number, self.mine], js=RECALL % (self.name, self.name))

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

    @event("files")
    def list_jobs(self, mine: str) -> list[Any]:
        """Pictures and captions of this browser's jobs, latest first, and their numbers."""
        found: list[tuple[str, str, str]] = []
        for number in numbers_of(mine):
            with contextlib.suppress(GenError):  # deleted meanwhile
                job = self.service.jobs.get(number)
                found.append((number, str(thumbnail(self.service.jobs.folder(number))), _caption(job, self.title(job))))
        return [[(picture, caption) for _, picture, caption in found], [number for number, _, _ in found]]

    def _state(self, number: str) -> list[Any]:
        """The current state of the job, for all components of the panel."""
        job, shown = None, ""
        if number and number.strip():
            try:
                job = self.service.jobs.get(number)
                shown = _status(job, self.service.jobs.describe(job))
            except GenError as error:
                shown = _paragraph(str(error))
        busy = job is not None and not job.over
        state = f"{job.id} {job.state}" if job else ""
        return [shown, gr.Button(visible=busy), gr.Timer(active=busy), state, *self.show(job)]


def _status(job: Job, text: str) -> str:
    """The state of a job as HTML: a sentence, a bar, and what went wrong."""
    share = job.done / job.of if job.of and not job.over else None
    bar = (
        f'<div class="bar" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{100 * share:.0f}" aria-label="Progress"><i style="width: {100 * share:.1f}%"></i></div>'
        if share is not None
        else ""
    )
    problems = "".join(f"<li>{html.escape(problem)}</li>" for problem in job.problems[-MAX_PROBLEMS:])
    return _paragraph(text) + bar + (f"<ul>{problems}</ul>" if problems else "")


def _paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _caption(job: Job, title: str) -> str:
    count = f", {job.done} of {job.of} {job.unit}" if job.of else ""
    return f"{f'{title}: ' if title else ''}{job.state}{count}, begun {duration(time.time() - job.created)} ago"


def numbers_of(mine: str) -> list[str]:
    """The numbers that the browser remembers; [] for anything else."""
    try:
        numbers = json.loads(mine or "[]")
    except (ValueError, RecursionError):
        return []
    return [n for n in numbers if isinstance(n, str)][:MAX_JOBS] if isinstance(numbers, list) else []


def chosen(listed: list[str] | None, event: gr.SelectData) -> str:
    """What belongs to the picture of a gallery that was clicked; "" for none, as a script may send it."""
    index = getattr(event, "index", None)
    return listed[index] if listed and isinstance(index, int) and 0 <= index < len(listed) else ""


def _kept(service: Service) -> str:
    hours = service.settings.keep_hours
    return f"{hours:g} hour" if hours == 1 else f"{hours:g} hours"
