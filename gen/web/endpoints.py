"""The endpoints by which scripts follow any job: /job, /cancel_job and /job_results."""

from typing import Any

import gradio as gr

from gen.web.events import STATUS, event
from gen.web.service import Service


class JobEndpoints:
    """They answer at once, whatever else the server does."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def build(self) -> None:
        """Add them to the page that is open in gradio."""
        gr.api(self.job, api_name="job", **STATUS)
        gr.api(self.cancel_job, api_name="cancel_job", **STATUS)
        # gr.api returns JSON alone. Files need an output component, so this endpoint hangs on an invisible field.
        number, files = gr.Textbox(visible=False), gr.File(visible=False, file_count="multiple")
        number.submit(self.job_results, [number], [files], api_name="job_results", **STATUS)

    @event("status")
    def job(self, number: str) -> dict[str, Any]:
        """Progress of a job.

        Args:
            number: the job's number, as the endpoint that started it returned it

        Returns:
            state (waiting, running, done, failed, cancelled), done, of, unit, said (all of it as one line), problems
        """
        return self._progress(number)

    @event("status")
    def cancel_job(self, number: str) -> dict[str, Any]:
        """Cancel a job. Finished results are kept.

        Args:
            number: the job's number

        Returns:
            the same as /job
        """
        self.service.jobs.cancel(number)
        return self._progress(number)

    @event("status")
    def job_results(self, number: str) -> list[str]:
        """Download the results of a job.

        Args:
            number: the job's number

        Returns:
            the files: a zip of all results, or single files
        """
        return self.service.result_files(self.service.jobs.get(number))

    def _progress(self, number: str) -> dict[str, Any]:
        job = self.service.jobs.get(number)
        names = ("state", "done", "of", "unit", "problems")
        return {name: getattr(job, name) for name in names} | {"said": self.service.jobs.describe(job)}
