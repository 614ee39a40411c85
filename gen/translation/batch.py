"""Translate a picture, a clip, or a tree of both with one model."""

from collections.abc import Callable, Sequence

from gen.devices import pick_device
from gen.media.folders import Job, plan_jobs
from gen.translation import registry
from gen.translation.clips import translate_clips
from gen.translation.outputs import entry_of, finished_before, prepare_outputs, report_path
from gen.translation.protocol import Translator
from gen.translation.report import Report, earlier_entries
from gen.translation.run import Network, Run, Watch, dtype_of
from gen.translation.settings import TranslateSettings, check_settings
from gen.translation.stills import translate_stills

Load = Callable[[TranslateSettings], Translator]
"""Gives the model that the settings name."""


def load_model(settings: TranslateSettings) -> Translator:
    """The model on its device in its precision."""
    return registry.load(settings.model, str(pick_device(settings.device)), dtype_of(settings))


def translate(settings: TranslateSettings, load: Load = load_model, watch: Watch | None = None) -> Report:
    """Translate everything that is not finished yet. Raises `GenError` only for what concerns the whole run.

    `load`: gives the model, which may be loaded already. Raises KeyboardInterrupt if `watch` wants to stop.
    """
    check_settings(settings)
    jobs = plan_jobs(settings.input, settings.output, settings.format)
    run = Run(settings, watch)
    earlier = earlier_entries(report_path(settings))
    todo: list[Job] = []
    for job in jobs:
        if finished_before(job, settings, earlier):
            run.report.entries.append(entry_of(job, "skipped", settings))
        else:
            todo.append(job)
    prepare_outputs(jobs, settings)
    network = Network(load(settings), settings) if todo else None  # what fails here leaves the old report alone
    with run.reporting(len(todo)):
        if network is not None:
            translate_jobs(todo, network, run)
    return run.report


def translate_jobs(jobs: Sequence[Job], network: Network, run: Run) -> None:
    """Translate pictures, then clips."""
    translate_stills([job for job in jobs if job.kind == "still"], network, run)
    translate_clips([job for job in jobs if job.kind == "clip"], network, run)
