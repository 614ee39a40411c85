"""`--model auto`: classify the weather of each file, translate it with the model for it, copy the rest unchanged."""

import filecmp
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.media.files import writing
from gen.media.folders import Job, plan_jobs
from gen.media.images import decode_still, encode_still
from gen.media.video import UNLIMITED, ClipLimits
from gen.translation.batch import Load, load_model, translate_jobs
from gen.translation.clips import copy_clip, open_clip
from gen.translation.outputs import check_same, entry_of, finished_before, prepare_outputs, report_path
from gen.translation.registry import translators
from gen.translation.report import Entry, Report, earlier_entries
from gen.translation.run import Network, Run, Watch, reason
from gen.translation.settings import TranslateSettings, check_settings
from gen.translation.weather import CLEAR_DAY, WeatherClassifier
from gen.translation.weathers import directions_of, weathers_of

LEFT = "no model: left as it is"
"""`made_with` of a file that was only copied."""
CHUNK = 64
"""Files that are classified and then translated, model by model, before the next ones."""


class Sight(NamedTuple):
    """What a file shows."""

    weather: str
    probability: float


def translate(settings: TranslateSettings, load: Load = load_model, watch: Watch | None = None) -> Report:
    """Translate everything that is not finished yet, each file by its weather.

    `load` gives the model that settings name. Raises `GenError` only for what concerns the whole run, and
    KeyboardInterrupt if `watch` wants to stop.
    """
    check_settings(settings)
    if settings.direction != "adverse_to_normal":
        raise BadSetting(
            "direction: model=auto only translates adverse_to_normal; for normal_to_adverse, set model to a name."
        )
    jobs = plan_jobs(settings.input, settings.output, settings.format)
    automatic = Automatic(settings, load, watch)
    automatic.run.report.planned = {str(job.target) for job in jobs}
    unknown = automatic.settle_known(jobs)
    prepare_outputs(jobs, settings)
    with automatic.run.reporting(len(unknown)):
        for start in range(0, len(unknown), CHUNK):
            automatic.process(unknown[start : start + CHUNK])
    return automatic.run.report


def models_by_weather(weathers: Sequence[str]) -> dict[str, str]:
    """For each of these weathers, the available model for it; of several, the one with the fewest other weathers.

    Ties go to the first by name.
    """
    able = [model for model in translators() if "adverse_to_normal" in directions_of(model)]
    able.sort(key=lambda model: (len(weathers_of(model)), model))
    found = {weather: [m for m in able if weather in weathers_of(m)] for weather in weathers if weather != CLEAR_DAY}
    return {weather: models[0] for weather, models in found.items() if models}


class Automatic:
    """One run: the classifier, the models as they are needed, and the report."""

    def __init__(self, settings: TranslateSettings, load: Load, watch: Watch | None) -> None:
        self.settings, self.load = settings, load
        self.run = Run(settings, watch)
        self.earlier = {} if settings.overwrite else earlier_entries(report_path(settings))
        self.classifier = WeatherClassifier.from_pretrained().to(pick_device(settings.device))
        self.models = models_by_weather(self.classifier.weathers)
        self._networks: dict[str, Network] = {}
        if settings.uncertainty != "none":  # a model without a map is reported now, and not amid the work
            for model in set(self.models.values()):
                self._network(model)

    def settle_known(self, jobs: Sequence[Job]) -> list[Job]:
        """Report the finished files whose weather an earlier run has noted; returns all others."""
        others: list[Job] = []
        for job in jobs:
            old = self.earlier.get(str(job.target), {})
            known = Sight(old["weather"], old["probability"]) if old.get("weather") else None
            entry = self._finished_before(job, known) if known else None
            if entry is None:
                others.append(job)
            else:
                self.run.report.entries.append(entry)
        return others

    def process(self, jobs: Sequence[Job]) -> None:
        """Classify these files, then copy or translate them."""
        sights: dict[str, Sight] = {}
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            sight = self._classify(job)
            if sight is None:
                continue
            sights[str(job.source)] = sight
            if entry := self._finished_before(job, sight):
                self.run.finish(entry)
            elif sight.weather in self.models:
                groups.setdefault(self.models[sight.weather], []).append(job)
            else:
                self._leave(job, sight)
        began = len(self.run.report.entries)
        try:
            for model, group in groups.items():
                translate_jobs(group, self._network(model), self.run)
        finally:
            for entry in self.run.report.entries[began:]:
                entry.weather, entry.probability = sights[entry.input]

    def _classify(self, job: Job) -> Sight | None:
        """The file's weather; None, and an entry in the report, if it cannot be read."""
        self.run.check_stop()
        try:
            return see(self.classifier, job, self.settings, self.run.watch.limits)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            self.run.fail(job, error)
            return None

    def _finished_before(self, job: Job, sight: Sight) -> Entry | None:
        """The entry of a file that needs nothing more; None if it is to be done.

        Raises `BadSetting` if the output was made by another model than the one chosen now.
        """
        model = self.models.get(sight.weather)
        copied = self._was_left(job)
        if model is not None and not copied and finished_before(job, self._settings(model), self.earlier):
            entry = entry_of(job, "skipped", self._settings(model))
        elif model is None and job.target.exists() and not self.settings.overwrite:
            if not copied:
                check_same(job, [LEFT], self.earlier)
            entry = left_entry(job, sight)
        else:  # there is no output, or a copy from when no model knew this weather
            return None
        entry.weather, entry.probability = sight
        return entry

    def _was_left(self, job: Job) -> bool:
        """Whether the output is a copy: by the report, or by its bytes if a killed run did not come to write one."""
        if str(job.target) in self.earlier:
            return self.earlier[str(job.target)].get("made_with") == LEFT
        return job.target.exists() and filecmp.cmp(job.source, job.target, shallow=False)

    def _leave(self, job: Job, sight: Sight) -> None:
        entry = left_entry(job, sight)
        try:
            for name, words in copy(job, self.settings).items():
                setattr(entry, name, words)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            entry.status, entry.note, entry.error = "failed", None, reason(job, error)
        self.run.finish(entry)

    def _settings(self, model: str) -> TranslateSettings:
        return replace(self.settings, model=model)

    def _network(self, model: str) -> Network:
        if model not in self._networks:
            settings = self._settings(model)
            self._networks[model] = Network(self.load(settings), settings)
        return self._networks[model]


def see(classifier: WeatherClassifier, job: Job, settings: TranslateSettings, limits: ClipLimits = UNLIMITED) -> Sight:
    """The weather of a picture, or the most frequent one among some frames of a clip. Raises `BadInput`."""
    if job.kind == "still":
        still = torch.from_numpy(decode_still(job.source).rgb)
        return Sight(*classifier.name(classifier.predict(still[None])[0]))
    with open_clip(job.source, settings, limits) as reader:
        return Sight(*classifier.of_clip(torch.from_numpy(frame.rgb) for frame in reader))


def left_entry(job: Job, sight: Sight) -> Entry:
    """The report's entry for a file that no model fits."""
    clear = sight.weather == CLEAR_DAY
    why = "a clear day" if clear else f"{sight.weather}, for which no model is available"
    entry = Entry(str(job.source), str(job.target), job.kind, "left", LEFT, note=f"copied unchanged: {why}")
    entry.weather, entry.probability = sight
    return entry


def copy(job: Job, settings: TranslateSettings) -> dict[str, list[str]]:
    """Copy the file byte by byte; re-encode it only if its format, its length or its metadata must change.

    Returns what the copy lacks and what was wrong, for the report's entry.
    """
    part = job.kind == "clip" and (settings.start is not None or settings.duration is not None)
    if job.source.suffix.lower() == job.target.suffix.lower() and not settings.strip_metadata and not part:
        with writing(job.target) as partial:
            shutil.copyfile(job.source, partial)
        return {}
    if job.kind == "clip":
        return copy_clip(job, settings)
    still = decode_still(job.source)
    encode_still(job.target, still, quality=settings.quality, strip_metadata=settings.strip_metadata)
    return {}
