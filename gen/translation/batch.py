"""Translate a picture, a clip, or a tree of both with one model."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.media.folders import Job
from gen.translation import registry
from gen.translation.clear_days import clear_days_among
from gen.translation.clips import open_clip, translate_clips
from gen.translation.engine import run_engine
from gen.translation.finished import finished_before, skipped_entry
from gen.translation.lanes import lanes_for
from gen.translation.made_with import present_weights_id, weights_id
from gen.translation.network import Network
from gen.translation.precision import dtype_of
from gen.translation.protocol import Translator
from gen.translation.report import Report
from gen.translation.run import Run, Watch
from gen.translation.runtimes.choice import LEAST, use_runtime
from gen.translation.settings import TranslateSettings, check_settings
from gen.translation.stills import translate_stills
from gen.weights import licence_of

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
    return run_engine(OneModel(settings, load, watch))


def load_network(load: Load, settings: TranslateSettings, jobs: Sequence[Job] = ()) -> Network:
    """The model with the settings of a run, in the runtime that suits these jobs.

    Raises `BadSetting` if it is no longer what the run has compared finished files with: it may load hours later.
    """
    network = Network(load(settings), settings)
    network.runtime = use_runtime(network.model, settings, _frames(jobs, settings))
    if weights_id(settings.model) != present_weights_id(settings.model):
        raise BadSetting(f"model: {settings.model} has changed since the run began; run the command again.")
    return network


def _frames(jobs: Sequence[Job], settings: TranslateSettings) -> int:
    """How many frames the jobs have, as far as headers say; it stops counting when there are many."""
    count = sum(job.kind == "still" for job in jobs)
    for job in jobs:
        if count < LEAST and job.kind == "clip":
            with (
                suppress(Exception),
                open_clip(job.source, settings) as reader,
            ):  # whatever is wrong is told in its turn
                count += reader.expected_frames
    return count


class OneModel:
    """One run with one model, which is loaded when there is something to do."""

    def __init__(self, settings: TranslateSettings, load: Load, watch: Watch | None) -> None:
        self.settings, self.load = settings, load
        self.run = Run(settings, watch)
        self._network: Network | None = None

    def settle(self, jobs: Sequence[Job]) -> list[Job]:
        """See `Engine`. Loads the model, so that what fails there leaves the old report alone."""
        todo: list[Job] = []
        for job in jobs:
            try:
                if finished_before(job, self.settings, self.run.record):
                    self.run.skip(skipped_entry(job, self.settings, self.run.record.of(job.target)))
                else:
                    todo.append(job)
            except BadSetting as error:
                self.run.refuse(job, error)
        if self._network is None and (todo or self.settings.watch):
            self._network = load_network(self.load, self.settings, todo)
            if clear := clear_days_among(todo, self._network.model, self.settings):
                self.run.warn(clear)
        return todo

    def process(self, jobs: Sequence[Job]) -> None:
        """See `Engine`."""
        if self._network is not None:
            translate_jobs(jobs, self._network, self.run)


def translate_jobs(jobs: Sequence[Job], network: Network, run: Run) -> None:
    """Translate pictures, then clips."""
    if jobs and (licence := licence_of(network.settings.model)):
        run.report.licences[network.settings.model] = licence
    stills, clips = ([job for job in jobs if job.kind == kind] for kind in ("still", "clip"))
    translate_stills(run.begun(stills, network.settings), lanes_for(network, len(stills)), run)
    translate_clips(run.begun(clips, network.settings), network, run)
