"""`--model auto`: look at the weather of each file, translate it by a model made for that, leave the rest as it is."""

import dataclasses
import filecmp
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from gen.augan import batch
from gen.augan.batch import Load, TranslateSettings, Translator, Watch, load_pipeline
from gen.augan.weather import CLEAR_DAY, WeatherClassifier
from gen.augan.weathers import directions_of, translators, weathers_of
from gen.errors import BadSetting
from gen.media.files import writing
from gen.media.folders import Entry, Job, Report, earlier_entries, plan_jobs
from gen.media.images import decode_still, encode_still
from gen.media.video import ClipReader, ClipWriter

LEFT = "no model: left as it is"
"""`made_with` of a file that was only copied."""
CHUNK = 64
"""Files that are looked at and then translated, model by model, before the next ones."""


class Sight(NamedTuple):
    """What a file shows."""

    weather: str
    probability: float


def translate(settings: TranslateSettings, load: Load = load_pipeline, watch: Watch | None = None) -> Report:
    """Do all that is not done yet, each file by its weather. Raises `GenError` only for what concerns the whole run.

    `load` gives the model that settings name. Raises KeyboardInterrupt when `watch` says stop.
    """
    batch.check_settings(settings)
    if settings.direction != "adverse_to_normal":
        raise BadSetting("direction: auto takes the weather of a picture away; for normal_to_adverse name the model.")
    jobs = plan_jobs(settings.input, settings.output, settings.format)
    run = Automatic(settings, load, watch or Watch())
    run.report.planned = {str(job.target) for job in jobs}
    unknown = run.settle_known(jobs)
    batch.prepare_outputs(jobs, settings)
    with batch.reporting(run.report, settings), tqdm(total=len(unknown), unit="file", dynamic_ncols=True) as bar:
        for start in range(0, len(unknown), CHUNK):
            run.do(unknown[start : start + CHUNK], bar)
    return run.report


def models_by_weather(weathers: Sequence[str]) -> dict[str, str]:
    """The model at hand for each of these weathers: of those that name it, the one with the fewest others, by name."""
    able = [model for model in translators() if "adverse_to_normal" in directions_of(model)]
    able.sort(key=lambda model: (len(weathers_of(model)), model))
    found = {weather: [m for m in able if weather in weathers_of(m)] for weather in weathers if weather != CLEAR_DAY}
    return {weather: models[0] for weather, models in found.items() if models}


class Automatic:
    """One run: the classifier, the models as they are needed, and the report."""

    def __init__(self, settings: TranslateSettings, load: Load, watch: Watch) -> None:
        self.settings, self.load, self.watch = settings, load, watch
        self.report = batch.new_report(settings)
        self.earlier = {} if settings.overwrite else earlier_entries(batch.report_path(settings))
        self.classifier = WeatherClassifier.from_pretrained().to(batch.device_of(settings))
        self.models = models_by_weather(self.classifier.weathers)
        self._translators: dict[str, Translator] = {}
        if settings.uncertainty != "none":  # a model without a map is told now, and not amid the work
            for model in set(self.models.values()):
                self._translator(model)

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
                self.report.entries.append(entry)
        return others

    def do(self, jobs: Sequence[Job], bar: "tqdm[Any]") -> None:
        """Look at these files, then copy or translate them."""
        sights: dict[str, Sight] = {}
        groups: dict[str, list[Job]] = {}
        for job in jobs:
            sight = self._look(job, bar)
            if sight is None:
                continue
            sights[str(job.source)] = sight
            if entry := self._finished_before(job, sight):
                self._finish(entry, bar)
            elif sight.weather in self.models:
                groups.setdefault(self.models[sight.weather], []).append(job)
            else:
                self._leave(job, sight, bar)
        began = len(self.report.entries)
        try:
            for model, group in groups.items():
                self._translator(model).run(group, bar)
        finally:
            for entry in self.report.entries[began:]:
                entry.weather, entry.probability = sights[entry.input]

    def _look(self, job: Job, bar: "tqdm[Any]") -> Sight | None:
        """The file's weather; None, and an entry in the report, where it cannot be read."""
        if self.watch.stop():
            raise KeyboardInterrupt
        try:
            return see(self.classifier, job)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            self._finish(batch.entry_of(job, "failed", self.settings, error=batch.reason(job, error)), bar)
            return None

    def _finished_before(self, job: Job, sight: Sight) -> Entry | None:
        """The entry of a file that needs nothing more; None where it is to be done.

        Raises `BadSetting` where what is there was made by another model than the one chosen now.
        """
        model = self.models.get(sight.weather)
        copied = self._was_left(job)
        if model is not None and not copied and batch.finished_before(job, self._settings(model), self.earlier):
            entry = batch.entry_of(job, "skipped", self._settings(model))
        elif model is None and job.target.exists() and not self.settings.overwrite:
            if not copied:
                batch.check_same(job, LEFT, self.earlier)
            entry = left_entry(job, sight)
        else:  # nothing is there, or a copy from when no model knew this weather
            return None
        entry.weather, entry.probability = sight
        return entry

    def _was_left(self, job: Job) -> bool:
        """Whether the output is a copy: by the report, or where a killed run has not come to write it, by its bytes."""
        if str(job.target) in self.earlier:
            return self.earlier[str(job.target)].get("made_with") == LEFT
        return job.target.exists() and filecmp.cmp(job.source, job.target, shallow=False)

    def _leave(self, job: Job, sight: Sight, bar: "tqdm[Any]") -> None:
        entry = left_entry(job, sight)
        try:
            copy(job, self.settings)
        except Exception as error:  # whatever is wrong with this file, the rest go on
            entry.status, entry.note, entry.error = "failed", None, batch.reason(job, error)
        self._finish(entry, bar)

    def _finish(self, entry: Entry, bar: "tqdm[Any]") -> None:
        batch.finish(entry, self.report, self.settings, self.watch, bar)

    def _settings(self, model: str) -> TranslateSettings:
        return dataclasses.replace(self.settings, model=model)

    def _translator(self, model: str) -> Translator:
        if model not in self._translators:
            settings = self._settings(model)
            self._translators[model] = Translator(settings, self.report, self.load(settings), self.watch)
        return self._translators[model]


def see(classifier: WeatherClassifier, job: Job) -> Sight:
    """The weather of a still, or the one that most of some frames of a clip show. Raises `BadInput` for a bad file."""
    if job.kind == "still":
        still = torch.from_numpy(decode_still(job.source).rgb)
        return Sight(*classifier.name(classifier.predict(still[None])[0]))
    with ClipReader(job.source) as reader:
        return Sight(*classifier.of_clip(torch.from_numpy(frame.rgb) for frame in reader))


def left_entry(job: Job, sight: Sight) -> Entry:
    """What the report says of a file that no model is for."""
    clear = sight.weather == CLEAR_DAY
    why = "a clear day" if clear else f"{sight.weather}, and no model at hand knows {sight.weather}"
    entry = Entry(str(job.source), str(job.target), job.kind, "left", LEFT, note=f"left as it is: {why}")
    entry.weather, entry.probability = sight
    return entry


def copy(job: Job, settings: TranslateSettings) -> None:
    """The file as it is, to the byte; written anew, with the same picture, where the format or metadata must change."""
    if job.source.suffix.lower() == job.target.suffix.lower() and not settings.strip_metadata:
        with writing(job.target) as partial:
            shutil.copyfile(job.source, partial)
    elif job.kind == "still":
        still = decode_still(job.source)
        encode_still(job.target, still, quality=settings.quality, strip_metadata=settings.strip_metadata)
    else:
        with ClipReader(job.source) as reader:
            size = (reader.height, reader.width)
            with ClipWriter(job.target, reader, size, strip_metadata=settings.strip_metadata) as writer:
                for frame in reader:
                    writer.write(frame.rgb, frame.pts)
