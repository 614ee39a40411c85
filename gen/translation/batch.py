"""Translate a picture, a clip, or a tree of both with one model."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from gen.errors import BadSetting
from gen.media.folders import Job
from gen.translation.clear_days import clear_days_among
from gen.translation.engine import run_engine
from gen.translation.finished import finished_entry
from gen.translation.on_ray import workers_on_ray
from gen.translation.protocol import Capabilities
from gen.translation.report import Report
from gen.translation.run import Run
from gen.translation.settings import TranslateSettings, check_settings
from gen.translation.watch import Watch
from gen.translation.workers import Load, Local, Workers, load_model
from gen.weights import licence_of


def translate(settings: TranslateSettings, load: Load = load_model, watch: Watch | None = None) -> Report:
    """Translate everything that is not finished yet. Raises `GenError` only for what concerns the whole run.

    `load`: gives the model, which may be loaded already. Raises KeyboardInterrupt if `watch` wants to stop.
    """
    check_settings(settings)
    with workers_of(settings, load) as workers:
        return run_engine(OneModel(settings, workers, watch))


@contextmanager
def workers_of(settings: TranslateSettings, load: Load) -> Generator[Workers]:
    """What translates within the block, as `settings.engine` says. Raises `BadSetting` if that cannot be used."""
    if settings.engine == "local":
        yield Local(load)
    else:
        with workers_on_ray(settings, load) as workers:
            yield workers


class OneModel:
    """One run with one model, which is loaded when there is something to do."""

    def __init__(self, settings: TranslateSettings, workers: Workers, watch: Watch | None) -> None:
        self.settings, self.workers = settings, workers
        self.run = Run(settings, watch)
        self._able: Capabilities | None = None

    def settle(self, jobs: Sequence[Job]) -> list[Job]:
        """See `Engine`. Loads the model, so that what fails there leaves the old report alone."""
        todo: list[Job] = []
        for job in jobs:
            try:
                if entry := finished_entry(job, self.settings, self.run.record):
                    self.run.skip(entry)
                else:
                    todo.append(job)
            except BadSetting as error:
                self.run.refuse(job, error)
        if self._able is None and (todo or self.settings.watch):
            self._able = self.workers.load(self.settings, todo)
            if clear := clear_days_among(todo, self._able, self.settings):
                self.run.warn(clear)
        return todo

    def process(self, jobs: Sequence[Job]) -> None:
        """See `Engine`."""
        translate_jobs(jobs, self.workers, self.settings, self.run)


def translate_jobs(jobs: Sequence[Job], workers: Workers, settings: TranslateSettings, run: Run) -> None:
    """Translate these jobs with the model of the settings."""
    if not jobs:
        return
    if licence := licence_of(settings.model):
        run.report.licences[settings.model] = licence
    workers.translate(jobs, settings, run)
