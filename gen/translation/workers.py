"""Where a run's models are: in this process, or on the machines of a Ray cluster (`gen.translation.on_ray`)."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.media.folders import Job
from gen.translation import registry
from gen.translation.clip_parts import Piece, PieceDone, translate_piece
from gen.translation.clips import open_clip, translate_clips
from gen.translation.lanes import lanes_for, leaving_a_core
from gen.translation.made_with import present_weights_id, weights_id
from gen.translation.network import Network
from gen.translation.precision import dtype_of
from gen.translation.protocol import Capabilities, Translator
from gen.translation.run import Results
from gen.translation.runtimes.choice import LEAST, use_runtime
from gen.translation.settings import TranslateSettings
from gen.translation.stills import translate_stills

Load = Callable[[TranslateSettings], Translator]
"""Gives the model that the settings name."""


class Workers(Protocol):
    """Hold models, and translate with them."""

    def load(self, settings: TranslateSettings, jobs: Sequence[Job] = ()) -> Capabilities:
        """What the model of the settings can do, which is loaded for these jobs if it is not yet. Raises `GenError`."""
        ...

    def translate(self, jobs: Sequence[Job], settings: TranslateSettings, run: Results) -> None:
        """Translate these jobs with a model that is loaded. What fails is reported, and the rest go on."""
        ...


class Local:
    """Workers that are threads of this process."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._networks: dict[str, Network] = {}

    def load(self, settings: TranslateSettings, jobs: Sequence[Job] = ()) -> Capabilities:
        """See `Workers`."""
        if settings.model not in self._networks:
            self._networks[settings.model] = load_network(self._load, settings, jobs)
        return self._networks[settings.model].model.capabilities

    def translate(self, jobs: Sequence[Job], settings: TranslateSettings, run: Results) -> None:
        """See `Workers`. Pictures, then clips."""
        network = self._networks[settings.model]
        stills, clips = ([job for job in jobs if job.kind == kind] for kind in ("still", "clip"))
        translate_stills(run.begun(stills, settings), lanes_for(network, len(stills)), run)
        if clips:
            with leaving_a_core(network) as own:
                translate_clips(run.begun(clips, settings), own, run)

    def translate_piece(self, piece: Piece, settings: TranslateSettings, run: Results) -> PieceDone:
        """Translate a part of a clip with a model that is loaded. See `gen.translation.clip_parts`."""
        with leaving_a_core(self._networks[settings.model]) as own:
            return translate_piece(piece, own, run)


def load_model(settings: TranslateSettings) -> Translator:
    """The model on its device in its precision."""
    return registry.load(settings.model, str(pick_device(settings.device)), dtype_of(settings))


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
