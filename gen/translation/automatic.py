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
from gen.media.folders import Job, stamp_of
from gen.media.images import decode_still, encode_still
from gen.media.mark import read_header
from gen.media.video import UNLIMITED, ClipLimits
from gen.translation.batch import translate_jobs, workers_of
from gen.translation.clips import copy_clip, open_clip
from gen.translation.engine import run_engine
from gen.translation.finished import (
    check_input,
    finished_entry,
    has_content,
    is_another,
    is_whole,
    other_maker,
    same_input,
    unknown_maker,
)
from gen.translation.made_with import metadata_removed
from gen.translation.outputs import entry_of
from gen.translation.record import Known
from gen.translation.registry import translators
from gen.translation.report import Entry, Report
from gen.translation.run import Run, reason
from gen.translation.settings import TranslateSettings, check_settings, encoding_options
from gen.translation.watch import Watch
from gen.translation.weather import CLEAR_DAY, WeatherClassifier
from gen.translation.weathers import directions_of, weathers_of
from gen.translation.workers import Load, Workers, load_model

LEFT = "no model: left as it is"
"""`made_with` of a file that was only copied, see `left_with`."""
CHUNK = 64
"""Files that are classified and then translated, model by model, before the next ones."""


class Sight(NamedTuple):
    """What a file shows."""

    weather: str
    probability: float
    classifier: str
    """Whose sight it is."""


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
    with workers_of(settings, load) as workers:
        return run_engine(Automatic(settings, workers, watch))


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

    def __init__(self, settings: TranslateSettings, workers: Workers, watch: Watch | None) -> None:
        self.settings, self.workers = settings, workers
        self.run = Run(settings, watch)
        self.classifier = WeatherClassifier.from_pretrained().to(pick_device(settings.device))
        self.models = models_by_weather(self.classifier.weathers)
        self._todo: Sequence[Job] = ()
        """All files that are not finished, by whose number the runtime is chosen."""
        if settings.uncertainty != "none":  # a model without a map is reported now, and not amid the work
            for model in set(self.models.values()):
                self.workers.load(self._settings(model))

    def settle(self, jobs: Sequence[Job]) -> list[Job]:
        """Report the finished files whose weather this classifier has seen in an earlier run; returns all others.

        See `Engine`.
        """
        others: list[Job] = []
        for job in jobs:
            known = self.run.record.of(job.target)
            sight = _sight_of(known)
            if sight and sight.classifier != self.classifier.fingerprint:
                sight = None  # it has been trained anew since: look again
            try:
                entry = self._finished_before(job, sight) if sight and not self.settings.overwrite else None
            except BadSetting as error:
                self.run.refuse(job, error)
                continue
            if entry is None:
                others.append(job)
            else:
                self.run.skip(entry)
        return others

    def process(self, jobs: Sequence[Job]) -> None:
        """See `Engine`."""
        self._todo = jobs
        for start in range(0, len(jobs), CHUNK):
            self._process(jobs[start : start + CHUNK])

    def _process(self, jobs: Sequence[Job]) -> None:
        """Classify these files, then copy or translate them."""
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            sight = self._classify(job)
            if sight is None:
                continue
            self.run.notes[str(job.source)] = sight._asdict()
            try:
                entry = self._finished_before(job, sight)
            except BadSetting as error:
                self.run.refuse(job, error)
                continue
            if entry is not None:
                self.run.finish(entry)
            elif sight.weather in self.models:
                groups.setdefault(self.models[sight.weather], []).append(job)
            else:
                for begun in self.run.begun([job], self.settings, left_with(self.settings, job)):
                    self._leave(begun, sight)
        for model, group in groups.items():
            self.workers.load(self._settings(model), self._todo)
            translate_jobs(group, self.workers, self._settings(model), self.run)

    def _classify(self, job: Job) -> Sight | None:
        """The file's weather; None, and an entry in the report, if it cannot be read."""
        self.run.check_stop()
        try:
            self.run.watch.check_here(job.source)
            return see(self.classifier, job, self.settings, self.run.watch.limits)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            self.run.fail_untouched(job, error)
            return None

    def _finished_before(self, job: Job, sight: Sight) -> Entry | None:
        """The entry of a file that needs nothing more; None if it is to be done.

        Raises `BadSetting` if the output was made by another model than the one chosen now.
        """
        model, known = self.models.get(sight.weather), self.run.record.of(job.target)
        if known is not None and has_content(job.target) and not self.settings.overwrite:
            check_input(job, known)
            if known.made_with.startswith(LEFT) and is_another(job.target, known):
                mark = read_header(job.target).mark  # without one it is a copy that was cut off
                if mark is not None and not self._is_copy(job, known):
                    raise other_maker(job.target, mark.made_with, LEFT)
        if model is None:
            return self._copied_before(job, sight, known)
        if self._is_copy(job, known) or (known is not None and known.made_with.startswith(LEFT)):
            return None  # from when no model knew this weather
        entry = finished_entry(job, self._settings(model), self.run.record)
        if entry is not None:
            entry.weather, entry.probability, entry.classifier = sight
        return entry

    def _copied_before(self, job: Job, sight: Sight, known: Known | None) -> Entry | None:
        """The entry of a file that is copied already; None if it is to be copied. Raises `BadSetting` as above."""
        if self.settings.overwrite or not has_content(job.target):
            return None
        if self._is_copy(job, known):
            job = replace(job, stamp=stamp_of(job.source), sha256=known.sha256 if known else None)
            entry = left_entry(job, sight, self.settings)
            if known and known.made_with == entry.made_with:
                entry.left_out, entry.warnings = known.left_out, known.warnings
            return entry
        if known is None:
            raise unknown_maker(job.target)
        if known.finished and known.made_with != left_with(self.settings, job):
            raise other_maker(job.target, known.made_with, left_with(self.settings, job))
        return None

    def _is_copy(self, job: Job, known: Known | None) -> bool:
        """Whether the output is a whole copy of the input as it is now: by its bytes, or by the record if made anew."""
        settings = self.settings
        if not has_content(job.target):
            return False
        recorded = (
            known is not None
            and known.finished
            and known.made_with == left_with(settings, job)
            and not is_another(job.target, known)
        )
        if copies_bytes(job, settings):
            # A copy has the size and time of its input, but so may a translation have.
            return filecmp.cmp(job.source, job.target, shallow=recorded and not (settings.verify or settings.hash))
        if known is None or not recorded:
            return False
        readable = is_whole(job.target) if settings.verify else read_header(job.target).readable
        return readable and same_input(job, known, settings)

    def _leave(self, job: Job, sight: Sight) -> None:
        entry = left_entry(job, sight, self.settings)
        try:
            for name, words in copy(job, self.settings).items():
                setattr(entry, name, words)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            entry.status, entry.note, entry.error = "failed", None, reason(job, error)
        self.run.finish(entry)

    def _settings(self, model: str) -> TranslateSettings:
        return replace(self.settings, model=model)


def _sight_of(known: Known | None) -> Sight | None:
    """What an earlier run has seen, if it noted which classifier did."""
    if known is None or not known.weather or not known.classifier:
        return None
    return Sight(known.weather, known.probability, known.classifier)


def see(classifier: WeatherClassifier, job: Job, settings: TranslateSettings, limits: ClipLimits = UNLIMITED) -> Sight:
    """The weather of a picture, or the most frequent one among some frames of a clip. Raises `BadInput`."""
    if job.kind == "still":
        still = torch.from_numpy(decode_still(job.source, settings.max_pixels).rgb)
        return Sight(*classifier.name(classifier.predict(still[None])[0]), classifier.fingerprint)
    with open_clip(job.source, settings, limits) as reader:
        return Sight(*classifier.of_clip(torch.from_numpy(frame.rgb) for frame in reader), classifier.fingerprint)


def copies_bytes(job: Job, settings: TranslateSettings) -> bool:
    """Whether a file that no model fits is copied byte by byte: its format, length and metadata stay."""
    part = job.kind == "clip" and (settings.start is not None or settings.duration is not None)
    return job.source.suffix.lower() == job.target.suffix.lower() and not settings.strip_metadata and not part


def left_with(settings: TranslateSettings, job: Job) -> str:
    """What a copied file was made with. It may have to be encoded anew, see `copies_bytes`."""
    encoding = "" if copies_bytes(job, settings) else encoding_options(settings, job.kind)
    return LEFT + metadata_removed(settings) + encoding


def left_entry(job: Job, sight: Sight, settings: TranslateSettings) -> Entry:
    """The report's entry for a file that no model fits."""
    clear = sight.weather == CLEAR_DAY
    why = "a clear day" if clear else f"{sight.weather}, for which no model is available"
    entry = entry_of(
        job,
        "left",
        settings,
        made_with=left_with(settings, job),
        note=f"{'copied unchanged' if copies_bytes(job, settings) else 'encoded anew, not translated'}: {why}",
        **sight._asdict(),
    )
    entry.sides = []
    return entry


def copy(job: Job, settings: TranslateSettings) -> dict[str, list[str]]:
    """Copy the file byte by byte; re-encode it only if its format, its length or its metadata must change.

    Returns what the copy lacks and what was wrong, for the report's entry.
    """
    if copies_bytes(job, settings):
        with writing(job.target) as partial:
            shutil.copyfile(job.source, partial)
        return {}
    if job.kind == "clip":
        return copy_clip(job, settings)
    still = decode_still(job.source, settings.max_pixels)
    lost = encode_still(job.target, still, quality=settings.quality, strip_metadata=settings.strip_metadata)
    anew = "The picture is encoded anew, because its format or its metadata changes."
    return {"left_out": list(dict.fromkeys([*still.left_out, *lost])), "warnings": [*still.warnings, anew]}
