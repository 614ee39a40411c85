"""The record of a background job, ROOT/ID/job.json, and what becomes of the records after a restart."""

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from gen.errors import GenError
from gen.formats.json_files import read_json

State = Literal["waiting", "running", "done", "failed", "cancelled"]
RECORD = "job.json"
MAX_ATTEMPTS = 3
"""A job with which the server has stopped that often is given up."""
log = logging.getLogger(__name__)


@dataclass
class Job:
    """The record of a job. Its fields are the keys of job.json, which servers of other versions read too."""

    id: str
    kind: str
    inputs: dict[str, Any]
    """The arguments of the job, as JSON."""
    state: State = "waiting"
    done: int = 0
    of: int = 0
    unit: str = "files"
    note: str = ""
    """What is happening now, or a summary of the result."""
    refused: list[str] = field(default_factory=list[str])
    """Files that were rejected at upload, a sentence each."""
    failures: list[str] = field(default_factory=list[str])
    """Files that failed while the job ran, a sentence each."""
    cancel: bool = False
    """A visitor asked to cancel it."""
    attempts: int = 0
    """How often it was started; more than once where the server stopped in between."""
    begun: int = -1
    """How much had been done before this attempt; -1: not known yet."""
    error: str = ""
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    ran: float = 0.0
    """Seconds of the attempts that a stop of the server has ended; of a running job's record, of this one too."""

    @property
    def over(self) -> bool:
        """Whether it has ended, in whatever state."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def problems(self) -> list[str]:
        """Rejected and failed files, a sentence each."""
        return self.refused + self.failures

    def seconds(self) -> float:
        """Time it has run in this attempt."""
        return (self.ended or time.time()) - self.started if self.started else 0.0

    def all_seconds(self) -> float:
        """Time it has run in all attempts."""
        return self.ran + self.seconds()


def stored_jobs(root: Path) -> list[Job]:
    """The records below `root`. One that is damaged, or of another folder than it says, is left alone."""
    names = {f.name for f in dataclasses.fields(Job)}
    jobs: list[Job] = []
    for file in sorted(root.glob(f"*/{RECORD}")):
        try:
            record = {name: value for name, value in read_json(file).items() if name in names}
            job = TypeAdapter(Job).validate_python(record)
            if job.id != file.parent.name:
                raise ValueError(job.id)
            jobs.append(job)
        except (GenError, ValueError):
            log.warning("%s cannot be read; the job is skipped", file)
    return jobs


def requeue(job: Job) -> None:
    """Decide what happens to a job that was waiting or running when the server stopped."""
    if job.over:
        return
    job.started = 0.0  # what it ran is in `ran`
    if job.cancel and not (job.done and job.attempts < MAX_ATTEMPTS):
        job.ended, job.state = time.time(), "cancelled"
    elif job.attempts >= MAX_ATTEMPTS:
        job.ended, job.state = time.time(), "failed"
        job.error = f"the server stopped {MAX_ATTEMPTS} times while this job was running."
    else:
        job.state, job.ended, job.failures = "waiting", 0.0, []
