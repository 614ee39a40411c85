"""Translate files, folder trees and clips: decoding, the network and encoding at the same time, in bounded memory."""

import dataclasses
import math
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
from diffusers.utils.logging import disable_progress_bar
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gen.augan.norm import StatisticsSmoother
from gen.augan.pipeline import SCALES, AUGANPipeline, Direction, MapName, Resolution, WhichMap, parse_resolution
from gen.errors import BadInput, BadSetting, GenError
from gen.media.ahead import batches, iterate_ahead, map_ahead
from gen.media.files import sweep
from gen.media.folders import REPORT, Entry, Job, Report, Status, check_not_inputs, earlier_entries, plan_jobs
from gen.media.images import (
    GREY_LEVELS_SCALE,
    MapScale,
    Pixels,
    RawMaps,
    Still,
    colour_uncertainty,
    decode_still,
    encode_still,
    encode_uncertainty_raw,
    overlay_uncertainty,
)
from gen.media.motion import STEADY, MotionFinder, Steadier
from gen.media.video import ClipFrame, ClipReader, ClipWriter
from gen.metrics.flicker import FlickerMeter

Scale = NDArray[np.float32] | None

COUNTED_AS: dict[MapName | None, str] = {"cycle": "uncertainty", "invention": "invented", None: "uncertainty"}
"""What the report calls its mean and 95th percentile."""

SAVE_SECONDS = 60.0
"""A run that is killed loses what the report gained in this time; its files are safe at any time."""


@dataclasses.dataclass(frozen=True)
class TranslateSettings:
    """Translate a still, a clip, or a tree of both. Finished files are not done again."""

    input: tyro.conf.Positional[Path]
    """A picture, a clip, or a folder of them."""
    output: tyro.conf.Positional[Path]
    """Where to: a file for a file, or a folder that mirrors the input's."""
    model: str = "augan-night2day"
    """Name of a model in weights/, its folder, or a hub id; auto: for each file the model made for its weather."""
    direction: Direction = "adverse_to_normal"
    """adverse_to_normal: from the model's weather to clear day; normal_to_adverse: the way back."""
    resolution: str = "auto"
    """Size the network runs at: auto (what suits the weights best), native, or HEIGHTxWIDTH."""
    uncertainty: Literal["none", "map", "overlay", "raw"] = "none"
    """Also write where not to believe the picture: a colour map, a tinted picture, or 16-bit values."""
    which_map: WhichMap = "auto"
    """Which map: invention (0 to 1, the share of each place that is made up), cycle (grey levels, the error expected
    of going there and back), or auto (what the model prefers)."""
    compare: bool = False
    """Also write input, translation and map side by side."""
    format: Literal["keep", "jpg", "png", "webp"] = "keep"
    """Format of stills: each as it came, or one for all."""
    quality: int = 95
    """Quality of JPEG and WebP, 1 to 100."""
    strip_metadata: bool = False
    """Leave out EXIF (place, camera), colour profiles and clips' tags; the mark of translation stays."""
    overwrite: bool = False
    """Do finished files again."""
    smooth: float = 0.5
    """Clips: seconds over which the network's normalisation is averaged, against flicker; 0: each frame by itself."""
    steady: float = STEADY
    """Clips: share of the last frame's change that each frame keeps, moved along with the picture, against flicker;
    from 0, none, to below 1."""
    batch_size: int | None = None
    """Frames at once; none: 8 on a GPU, 1 on a CPU."""
    device: str | None = None
    """cuda, cpu, ...; none: the GPU where there is one."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: faster on processors that have it, at the cost of small rounding errors (see benchmarks/generator.py)."""
    tile: int | None = None
    """Rows at a time, for frames that memory cannot hold at the network's size; none: whole frames."""
    workers: int = 4
    """Threads that decode and as many that encode."""


Load = Callable[[TranslateSettings], AUGANPipeline]
"""Gives the model that settings name."""


class Progress(NamedTuple):
    """How far a run is."""

    files: int
    """Finished, whatever became of them."""
    of_files: int
    frames: int = 0
    """Of the clip that is under way."""
    of_frames: int = 0
    """As far as its container knows."""
    latest: Entry | None = None
    """The file that was finished just now."""


@dataclasses.dataclass(frozen=True)
class Watch:
    """Who follows a run from outside, as the web page does."""

    tell: Callable[[Progress], None] = lambda progress: None
    """Called from the run's own thread after every file, and every batch of a clip's frames."""
    stop: Callable[[], bool] = lambda: False
    """Asked before every batch; once it says yes, the run ends as by Ctrl-C, and keeps what is finished."""


def report_path(settings: TranslateSettings) -> Path:
    """Beside a single output file, or in the output folder."""
    out = settings.output
    single = settings.input.is_file() and out.suffix and not out.is_dir()
    return out.with_name(f"{out.stem}.{REPORT}") if single else out / REPORT


def translate(settings: TranslateSettings, load: Load | None = None, watch: Watch | None = None) -> Report:
    """Do all that is not done yet. Raises `GenError` only for what concerns the whole run.

    `load`: gives the model of the settings, where it may be loaded already. Raises KeyboardInterrupt when `watch` says
    stop.
    """
    check_settings(settings)
    jobs = plan_jobs(settings.input, settings.output, settings.format)
    report = new_report(settings)
    earlier = earlier_entries(report_path(settings))
    todo: list[Job] = []
    for job in jobs:
        if finished_before(job, settings, earlier):
            report.entries.append(entry_of(job, "skipped", settings))
        else:
            todo.append(job)
    prepare_outputs(jobs, settings)
    # What stops the run here leaves the old report alone.
    translator = Translator(settings, report, (load or load_pipeline)(settings), watch) if todo else None
    with reporting(report, settings):
        if translator is not None:
            translator.run(todo)
    return report


def new_report(settings: TranslateSettings) -> Report:
    """An empty one, headed by the settings."""
    return Report(dataclasses.asdict(settings))


@contextmanager
def reporting(report: Report, settings: TranslateSettings) -> Generator[None]:
    """Whatever happens inside, the report is written."""
    try:
        yield
    finally:
        report.entries.sort(key=lambda entry: entry.input)
        report.write(report_path(settings))


def finished_before(job: Job, settings: TranslateSettings, earlier: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all files that the job is to leave are there. Raises `BadSetting` where another model made them."""
    if settings.overwrite or not all(path.exists() for path in outputs_of(job, settings)):
        return False
    check_same(job, made_with(settings, job.kind), earlier)
    return True


def check_same(job: Job, wanted: str, earlier: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises `BadSetting` where an earlier run says that it made the file in another way."""
    made = earlier.get(str(job.target), {}).get("made_with", wanted)
    if made != wanted:
        raise BadSetting(
            f"{job.target}: this folder holds pictures made with {made}, not {wanted}; "
            f"use another output folder, or --overwrite."
        )


def prepare_outputs(jobs: Sequence[Job], settings: TranslateSettings) -> None:
    """Make the folders. Raises `BadInput` where they cannot be written, or an input would be written over."""
    check_not_inputs(jobs, (path for job in jobs for path in outputs_of(job, settings)))
    _make_folders({job.target.parent for job in jobs})


def check_settings(settings: TranslateSettings) -> None:
    """Raises `BadSetting` before any work for what could not go well."""
    parse_resolution(settings.resolution)
    if settings.uncertainty != "none" and settings.direction == "normal_to_adverse":
        raise BadSetting("uncertainty: normal_to_adverse has no map; only adverse_to_normal has one.")
    if not 1 <= settings.quality <= 100:
        raise BadSetting(f"quality: {settings.quality} is outside of 1 to 100; 95 is a good value.")
    if not settings.smooth >= 0:
        raise BadSetting(f"smooth: {settings.smooth} is no length of time; seconds, or 0 for each frame by itself.")
    if not 0 <= settings.steady < 1:
        raise BadSetting(f"steady: {settings.steady} is no share; from 0 (off) to below 1, such as {STEADY}.")
    for name in ("workers", "batch_size", "tile"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise BadSetting(f"{name}: {value} is too small; it must be at least 1.")


def outputs_of(job: Job, settings: TranslateSettings) -> list[Path]:
    """All files that the job is to leave; only when all are there it is finished."""
    outputs = [job.target]
    if settings.uncertainty == "overlay":
        outputs.append(job.beside(".overlay"))
    elif settings.uncertainty != "none":
        clip_suffix = {"map": job.target.suffix, "raw": ".zip"}[settings.uncertainty]
        outputs.append(job.beside(".uncertainty", ".png" if job.kind == "still" else clip_suffix))
    if settings.compare:
        outputs.append(job.beside(".compare"))
    return outputs


def _make_folders(folders: Iterable[Path]) -> None:
    for folder in sorted(folders):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            sweep(folder)
        except OSError as error:
            raise BadInput(f"{folder}: the output folder cannot be made ({error.strerror}).") from error
        if not os.access(folder, os.W_OK | os.X_OK):  # told now, and not by each file after its work
            raise BadInput(f"{folder}: the output folder cannot be written to; choose another, or change its rights.")


def made_with(settings: TranslateSettings, kind: str) -> str:
    """What the translation of a file of this kind depends on."""
    which = "" if settings.which_map == "auto" else f", map {settings.which_map}"
    calm = f", smooth {settings.smooth:g}, steady {settings.steady:g}" if kind == "clip" else ""
    return f"{settings.model}, {settings.direction}, resolution {settings.resolution}{which}{calm}"


def entry_of(job: Job, status: Status, settings: TranslateSettings, **values: Any) -> Entry:
    """What the report says of the job."""
    return Entry(str(job.source), str(job.target), job.kind, status, made_with(settings, job.kind), **values)


def device_of(settings: TranslateSettings) -> str:
    """Where the networks run."""
    return settings.device or ("cuda" if torch.cuda.is_available() else "cpu")


def load_pipeline(settings: TranslateSettings) -> AUGANPipeline:
    """The model on its device in its precision."""
    device = device_of(settings)
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    disable_progress_bar()
    pipeline = AUGANPipeline.from_pretrained(settings.model, dtype=dtype)
    try:
        return pipeline.to(device)
    except (RuntimeError, AssertionError) as error:
        raise BadSetting(f"device: {device!r} cannot be used here ({str(error).splitlines()[0]}).") from error


class Translator:
    """One run: the pipeline, the threads around it, and the report."""

    def __init__(
        self,
        settings: TranslateSettings,
        report: Report,
        pipeline: AUGANPipeline,
        watch: Watch | None = None,
    ) -> None:
        self.settings, self.report, self.watch = settings, report, watch or Watch()
        self.pipeline = pipeline
        self.map: MapName | None = self.pipeline.shown_map(settings.direction, settings.which_map)
        self.scale = SCALES[self.map]
        if settings.uncertainty != "none" and self.map is None:
            raise BadSetting(f"uncertainty: {settings.model} has no map for {settings.direction}.")
        self.resolution: Resolution = parse_resolution(settings.resolution)
        on_cpu = self.pipeline.device.type == "cpu"
        self.batch_size = settings.batch_size or (1 if on_cpu else 8)
        self.mark = f"Translated by gen ({Path(settings.model).name}, {settings.direction}): not a photograph"

    def run(self, jobs: Sequence[Job], bar: "tqdm[Any] | None" = None) -> None:
        """Translate stills, then clips. `bar`: of a larger run that these files are a part of."""
        stills = [job for job in jobs if job.kind == "still"]
        clips = [job for job in jobs if job.kind == "clip"]
        with nullcontext(bar) if bar is not None else tqdm(total=len(jobs), unit="file", dynamic_ncols=True) as bar:
            self._stills(stills, bar)
            for job in clips:
                self._clip(job, bar)

    def _network(
        self, frames: Sequence[Pixels], smoother: StatisticsSmoother | None = None
    ) -> list[tuple[Pixels, Scale]]:
        """Frames of equal size through the network: the translations and their maps."""
        if self.watch.stop():
            raise KeyboardInterrupt
        batch = torch.from_numpy(np.stack(frames))
        translated, scale = self.pipeline.translate_frames(
            batch,
            self.settings.direction,
            resolution=self.resolution,
            tile=self.settings.tile,
            smoother=smoother,
            which_map=self.map or "auto",
        )
        scales: list[Scale] = list(scale.numpy()) if scale is not None else [None] * len(frames)
        return list(zip(translated.numpy(), scales, strict=True))

    # Stills: a pool decodes ahead, the main thread runs the network, a pool encodes behind.

    def _stills(self, jobs: Sequence[Job], bar: "tqdm[Any]") -> None:
        window = 2 * (self.settings.workers + self.batch_size)
        with (
            ThreadPoolExecutor(self.settings.workers) as readers,
            ThreadPoolExecutor(self.settings.workers) as writers,
        ):
            decoded = map_ahead(readers, _decode_timed, jobs, window)
            entries: deque[Future[Entry]] = deque()
            try:
                for batch in batches(self._readable(decoded, bar), self.batch_size, lambda item: item[1].rgb.shape):
                    entries.extend(self._still_batch(batch, writers, bar))
                    while len(entries) > window:
                        self._finished(entries.popleft().result(), bar)
            finally:  # after Ctrl-C too, what is being written is finished and reported
                for entry in entries:
                    self._finished(entry.result(), bar)

    def _still_batch(
        self, batch: Sequence[tuple[Job, Still, float]], writers: ThreadPoolExecutor, bar: "tqdm[Any]"
    ) -> list[Future[Entry]]:
        try:
            results = self._network([still.rgb for _, still, _ in batch])
        except Exception as error:  # memory, above all: one by one they may pass, and the rest go on
            if len(batch) == 1:
                self._failed([batch[0][0]], error, bar)
                return []
            return [future for item in batch for future in self._still_batch([item], writers, bar)]
        return [
            writers.submit(self._write_still, job, still, began, *result)
            for (job, still, began), result in zip(batch, results, strict=True)
        ]

    def _readable(
        self, decoded: Iterable[tuple[Job, Still | str, float]], bar: "tqdm[Any]"
    ) -> Iterator[tuple[Job, Still, float]]:
        for job, still, began in decoded:
            if isinstance(still, str):
                self._finished(entry_of(job, "failed", self.settings, error=still), bar)
            else:
                yield job, still, began

    def _write_still(self, job: Job, still: Still, began: float, rgb: Pixels, scale: Scale) -> Entry:
        try:
            s = self.settings
            encode = partial(encode_still, quality=s.quality, mark=self.mark, strip_metadata=s.strip_metadata)
            plain = dataclasses.replace(still, alpha=None)
            if scale is not None and s.uncertainty == "map":
                encode(job.beside(".uncertainty", ".png"), Still(colour_uncertainty(scale, self.scale)))
            elif scale is not None and s.uncertainty == "raw":
                encode_uncertainty_raw(job.beside(".uncertainty", ".png"), scale, self.scale)
            elif scale is not None and s.uncertainty == "overlay":
                tinted = overlay_uncertainty(rgb, scale, self.scale)
                encode(job.beside(".overlay"), dataclasses.replace(plain, rgb=tinted))
            if s.compare:
                encode(
                    job.beside(".compare"),
                    dataclasses.replace(plain, rgb=side_by_side(still.rgb, rgb, scale, self.scale)),
                )
            # The translation comes last: when it is there, its side files are.
            encode(job.target, dataclasses.replace(still, rgb=rgb))
        except Exception as error:
            return entry_of(job, "failed", self.settings, error=reason(job, error))
        height, width = rgb.shape[:2]
        sums = _statistics(scale, COUNTED_AS[self.map])
        return entry_of(
            job, "done", self.settings, seconds=time.perf_counter() - began, width=width, height=height, **sums
        )

    def _finished(self, entry: Entry, bar: "tqdm[Any]") -> None:
        finish(entry, self.report, self.settings, self.watch, bar)

    def _failed(self, jobs: Sequence[Job], error: Exception, bar: "tqdm[Any]") -> None:
        for job in jobs:
            self._finished(entry_of(job, "failed", self.settings, error=reason(job, error)), bar)

    # Clips: one at a time, frames in order, a thread on either side of the network.

    def _clip(self, job: Job, bar: "tqdm[Any]") -> None:
        began = time.perf_counter()
        try:
            with ClipReader(job.source) as reader:
                entry = self._translate_clip(job, reader, bar)
            self._finished(dataclasses.replace(entry, seconds=time.perf_counter() - began), bar)
        except Exception as error:  # whatever is wrong with this clip, the rest go on
            self._failed([job], error, bar)

    def _translate_clip(self, job: Job, reader: ClipReader, bar: "tqdm[Any]") -> Entry:
        finder, meter, summary = MotionFinder(), FlickerMeter(), Summary()

        def observe(steadier: Steadier, frame: ClipFrame, rgb: Pixels, scale: Scale) -> Pixels:
            """The frame as it is kept, after everything that is measured on it."""
            motion = finder.update(frame.rgb)
            kept = steadier.update(motion, rgb)
            meter.update(motion, kept)
            summary.add(_statistics(scale, COUNTED_AS[self.map]))
            return kept

        def write(frame: ClipFrame, kept: Future[Pixels], scale: Scale) -> None:
            sink.write(frame, kept.result(), scale)

        written: deque[Future[None]] = deque()
        with (
            ExitStack() as stack,
            ThreadPoolExecutor(1) as decoder,
            ThreadPoolExecutor(1) as encoder,
            ThreadPoolExecutor(1) as observer,
            tqdm(total=reader.expected_frames or None, unit="frame", desc=job.source.name, leave=False) as frames_bar,
        ):
            sink = ClipSink(stack, job, reader, self.settings, self.mark, self.map)
            ahead = iterate_ahead(decoder, scenes(reader), 2 * self.batch_size)
            smoother, steadier, scene = self._smoother(reader), Steadier(self.settings.steady), 0
            for batch in batches(ahead, self.batch_size, lambda item: item[0]):
                if batch[0][0] != scene:  # what was before a cut says nothing of what comes after it
                    smoother, steadier = self._smoother(reader), Steadier(self.settings.steady)
                    scene = batch[0][0]
                frames = [frame for _, frame in batch]
                for frame, (rgb, scale) in zip(frames, self._network([f.rgb for f in frames], smoother), strict=True):
                    kept = observer.submit(observe, steadier, frame, rgb, scale)
                    written.append(encoder.submit(write, frame, kept, scale))
                while len(written) > 2 * self.batch_size:
                    written.popleft().result()
                frames_bar.update(len(batch))
                self.watch.tell(Progress(bar.n, int(bar.total), frames_bar.n, reader.expected_frames))
            for frame_written in written:
                frame_written.result()
        size = {"width": reader.width, "height": reader.height, "frames": summary.frames}
        return entry_of(job, "done", self.settings, flicker=meter.result(), **size, **summary.means())

    def _smoother(self, reader: ClipReader) -> StatisticsSmoother | None:
        seconds = self.settings.smooth
        return StatisticsSmoother(math.exp(-1 / float(reader.rate * seconds))) if seconds > 0 else None


def finish(entry: Entry, report: Report, settings: TranslateSettings, watch: Watch, bar: "tqdm[Any]") -> None:
    """Note what became of a file, tell those who watch, and now and then save the report."""
    report.entries.append(entry)
    if entry.error:
        bar.write(f"failed: {entry.error}", file=sys.stderr)
    bar.update()
    watch.tell(Progress(bar.n, int(bar.total), latest=entry))
    if time.monotonic() - report.saved > SAVE_SECONDS:
        report.write(report_path(settings))


class Summary:
    """Running means over the frames of a clip, which may be long."""

    def __init__(self) -> None:
        self.frames = 0
        self.sums: Counter[str] = Counter()

    def add(self, values: dict[str, float]) -> None:
        """One frame's values."""
        self.frames += 1
        self.sums.update(values)

    def means(self) -> dict[str, float]:
        """Mean over the frames."""
        return {name: value / self.frames for name, value in self.sums.items()}


def scenes(frames: Iterable[ClipFrame]) -> Iterator[tuple[int, ClipFrame]]:
    """Number the scenes: a new one begins where a frame hardly correlates with the one before.

    Pearson correlation of 32x18 luma thumbnails below 0.2. That is half of the cuts between two random drives; the
    other half look alike at this size. A lamp that suddenly lights a quarter of a dark picture stays above it.
    """
    scene, past = 0, None
    for frame in frames:
        thumbnail = np.asarray(Image.fromarray(frame.rgb).convert("L").resize((32, 18)), dtype=np.float64)
        thumbnail -= thumbnail.mean()
        if past is not None:
            power = np.sqrt((past**2).sum() * (thumbnail**2).sum())
            scene += bool(power > 0 and (past * thumbnail).sum() < 0.2 * power)
        past = thumbnail
        yield scene, frame


class ClipSink:
    """The clips that a job leaves: the translation and what stands beside it."""

    def __init__(
        self,
        stack: ExitStack,
        job: Job,
        reader: ClipReader,
        settings: TranslateSettings,
        mark: str,
        shown: MapName | None,
    ) -> None:
        self.uncertainty, self.scale = settings.uncertainty, SCALES[shown]

        def clip(path: Path, columns: int = 1) -> ClipWriter:
            size = (reader.height, reader.width * columns)
            return stack.enter_context(ClipWriter(path, reader, size, mark, settings.strip_metadata))

        self.main = clip(job.target)
        self.compare = clip(job.beside(".compare"), 3 if shown else 2) if settings.compare else None
        self.side: ClipWriter | None = None
        self.raw: RawMaps | None = None
        if settings.uncertainty in ("map", "overlay"):
            self.side = clip(job.beside(".uncertainty" if settings.uncertainty == "map" else ".overlay"))
        elif settings.uncertainty == "raw":
            self.raw = stack.enter_context(RawMaps(job.beside(".uncertainty", ".zip"), self.scale))

    def write(self, frame: ClipFrame, rgb: Pixels, scale: Scale) -> None:
        """One frame into all of them."""
        self.main.write(rgb, frame.pts)
        if self.compare:
            self.compare.write(side_by_side(frame.rgb, rgb, scale, self.scale), frame.pts)
        if self.side and scale is not None:
            as_map = self.uncertainty == "map"
            self.side.write(
                colour_uncertainty(scale, self.scale) if as_map else overlay_uncertainty(rgb, scale, self.scale),
                frame.pts,
            )
        if self.raw and scale is not None:
            self.raw.write(scale)


def reason(job: Job, error: Exception) -> str:
    """One sentence that names the file."""
    if isinstance(error, GenError):
        return str(error)
    text = (str(error).splitlines() or [""])[0] or type(error).__name__
    short = isinstance(error, MemoryError | torch.OutOfMemoryError) or "not enough memory" in text
    more = "; a smaller --resolution, or --tile 256, needs less" if short else ""
    return f"{job.source}: {text}{more}."


def _decode_timed(job: Job) -> tuple[Job, Still | str, float]:
    """The picture, or the reason why there is none; and when decoding began."""
    began = time.perf_counter()
    try:
        return job, decode_still(job.source), began
    except BadInput as error:
        return job, str(error), began


def _statistics(scale: Scale, counted_as: str) -> dict[str, float]:
    """Mean and 95th percentile of a map."""
    if scale is None:
        return {}
    return {f"mean_{counted_as}": float(scale.mean()), f"p95_{counted_as}": float(np.percentile(scale, 95))}


def side_by_side(source: Pixels, translated: Pixels, scale: Scale, on: MapScale = GREY_LEVELS_SCALE) -> Pixels:
    """Input, translation and, where there is one, the map, from left to right."""
    panels = [source, translated] + ([colour_uncertainty(scale, on)] if scale is not None else [])
    return np.concatenate(panels, axis=1)
