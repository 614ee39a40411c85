"""Translate clips: one at a time, frames in order, with a thread on either side of the network."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.bars import progress_bar
from gen.interrupts import interrupts_held
from gen.media.ahead import batches, iterate_ahead
from gen.media.folders import Job
from gen.media.images import Pixels
from gen.media.motion import FlickerFilter, Motion, MotionFinder
from gen.media.video import UNLIMITED, ClipFrame, ClipLimits, ClipReader, ClipWriter, Encoding, Part, PartWriter
from gen.metrics.flicker import FlickerMeter
from gen.translation.made_with import mark_of
from gen.translation.maps import RawMaps, colour_uncertainty, overlay_uncertainty
from gen.translation.network import MapValues, Network, Translated
from gen.translation.norm import StatisticsSmoother
from gen.translation.outputs import entry_of
from gen.translation.report import Entry
from gen.translation.run import Results
from gen.translation.settings import TranslateSettings, parse_time

CUT_CORRELATION = 0.2
"""Thumbnails of neighbouring frames that correlate less than this are different scenes. It finds half of the cuts
between two random drives; the other half look alike at this size. A lamp that suddenly lights a quarter of a dark
picture stays above it."""


def encoding_of(settings: TranslateSettings) -> Encoding:
    """How the settings want clips to be encoded."""
    return Encoding(settings.codec, settings.crf, settings.bit_depth, settings.encoder)


def open_clip(path: Path, settings: TranslateSettings, limits: ClipLimits = UNLIMITED) -> ClipReader:
    """The part of a clip that the settings ask for. Raises `BadInput`."""
    part = Part(parse_time("start", settings.start) or Fraction(0), parse_time("duration", settings.duration))
    return ClipReader(path, part, limits, encoding_of(settings).keeps_fields)


def translate_clips(jobs: Iterable[Job], network: Network, run: Results) -> None:
    """Translate these clips. What fails is reported, and the rest go on."""
    for job in jobs:
        began = time.perf_counter()
        try:
            with ExitStack() as closing:
                with open_clip(job.source, network.settings, run.watch.limits) as reader:
                    entry = _translate_clip(job, reader, network, run, closing)
                run.finish(replace(entry, seconds=time.perf_counter() - began))
        except Exception as error:  # whatever is wrong with this clip, the rest go on
            run.fail(job, error, network.settings)


def copy_clip(job: Job, settings: TranslateSettings) -> dict[str, list[str]]:
    """Encode a clip anew without translating it. Returns the notes of its report entry. Raises `BadInput`."""
    with open_clip(job.source, settings) as reader:
        size, strip = (reader.height, reader.width), settings.strip_metadata
        with ClipWriter(job.target, reader, size, None, strip, encoding_of(settings)) as writer:
            for frame in reader:
                writer.write(frame.rgb, frame.pts)
        reader.warnings.append("The clip is encoded anew, because its format, its length or its metadata changes.")
    return {"left_out": reader.left_out, "warnings": reader.warnings}


def _translate_clip(job: Job, reader: ClipReader, network: Network, run: Results, closing: ExitStack) -> Entry:
    """`closing`: ends when the entry is reported; Ctrl-C waits for that once all frames are written."""
    with ExitStack() as stack:
        sink = ClipSink(job, network, *whole_clips(stack, job, reader, network))
        measures = translate_frames(reader, reader, network, run, sink)
        closing.enter_context(interrupts_held())
    return clip_entry(job, reader, network.settings, network.runtime, measures)


def clip_entry(job: Job, reader: ClipReader, settings: TranslateSettings, runtime: str, measures: "Measures") -> Entry:
    """The entry of a clip whose files are complete."""
    size = {"width": reader.width, "height": reader.height, "frames": measures.means.count, "runtime": runtime}
    notes = {"left_out": reader.left_out, "warnings": [*reader.warnings, *sorted(measures.warnings)]}
    flicker = measures.meter.result() if measures.meter.measured else None
    return entry_of(job, "done", settings, flicker=flicker, **size, **measures.means.result(), **notes)


def translate_frames(
    frames: Iterable[ClipFrame],
    reader: ClipReader,
    network: Network,
    run: Results,
    sink: "ClipSink",
    begin: float = -math.inf,
) -> "Measures":
    """Translate the frames of a clip, in order, and write them.

    Those before `begin`, in units of their `pts`, only tell the filters against flicker what came before the others.
    """
    finder, measures, settings = MotionFinder(), Measures(), network.settings

    def observe(frame: ClipFrame, steadier: FlickerFilter, found: Future[Motion], translated: Translated) -> Pixels:
        """The frame as it is kept, after everything that is measured on it."""
        motion = found.result()
        kept = steadier.update(motion, translated.rgb)
        if frame.pts < begin:
            measures.meter.skip(motion, kept)
        else:
            measures.meter.update(motion, kept)
            measures.means.add(translated.statistics)
        return kept

    def write(frame: ClipFrame, kept: Future[Pixels], values: MapValues) -> None:
        pixels = kept.result()
        if frame.pts >= begin:
            sink.write(frame, pixels, values)

    written: deque[Future[None]] = deque()
    with (
        ThreadPoolExecutor(1) as decoder,
        ThreadPoolExecutor(1) as encoder,
        ThreadPoolExecutor(1) as observer,
        ThreadPoolExecutor(settings.workers) as flows,  # the slowest part of a clip on a GPU
        progress_bar(total=reader.expected_frames or None, unit="frame", desc=reader.path.name, leave=False) as bar,
    ):
        ahead = iterate_ahead(decoder, split_at_cuts(frames), 2 * network.batch_size)
        smoother, steadier, scene = _smoother(network, reader), FlickerFilter(settings.steady), 0
        for batch in batches(ahead, network.batch_size, lambda item: item[0]):
            run.check_stop()
            if batch[0][0] != scene:  # the frames before a cut say nothing about those after it
                smoother, steadier = _smoother(network, reader), FlickerFilter(settings.steady)
                scene = batch[0][0]
            group = [frame for _, frame in batch]
            motions = [flows.submit(finder.pair(frame.rgb)) for frame in group]  # while the network runs
            results = network([f.rgb for f in group], smoother)
            measures.warnings |= set(network.warnings)
            for frame, motion, translated in zip(group, motions, results, strict=True):
                kept = observer.submit(observe, frame, steadier, motion, translated)
                written.append(encoder.submit(write, frame, kept, translated.values))
            while len(written) > 2 * network.batch_size:  # bounded memory
                written.popleft().result()
            bar.update(len(batch))
            run.tell_frames(bar.n, reader.expected_frames, (group[-1].rgb, results[-1].rgb))
        for frame_written in written:
            frame_written.result()
    return measures


def _smoother(network: Network, reader: ClipReader) -> StatisticsSmoother | None:
    """Averages over `smooth` seconds of the clip; None if that is off or has no effect on this model."""
    seconds = network.settings.smooth
    if not seconds or not network.model.capabilities.smooths:
        return None
    return StatisticsSmoother(math.exp(-1 / float(reader.rate * seconds)))


class Measures:
    """What is measured on the frames of a clip, or of a part of it."""

    def __init__(self) -> None:
        self.meter, self.means = FlickerMeter(), RunningMeans()
        self.warnings: set[str] = set()
        """What the network said."""

    def add(self, later: "Measures") -> None:
        """Add what was measured on the next part of the clip."""
        self.meter.add(later.meter)
        self.means.add_all(later.means)
        self.warnings |= later.warnings


class RunningMeans:
    """Means over the frames of a clip, which may be long."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Counter[str] = Counter()

    def add(self, values: dict[str, float]) -> None:
        """One frame's values."""
        self.count += 1
        self.sums.update(values)

    def add_all(self, later: "RunningMeans") -> None:
        """The values of another part of the clip."""
        self.count += later.count
        self.sums.update(later.sums)

    def result(self) -> dict[str, float]:
        """The means."""
        return {name: value / self.count for name, value in self.sums.items()}


def split_at_cuts(frames: Iterable[ClipFrame]) -> Iterator[tuple[int, ClipFrame]]:
    """Number the scenes: a new one begins where two neighbouring frames hardly correlate.

    Pearson correlation of 32x18 luma thumbnails, against `CUT_CORRELATION`.
    """
    scene, past = 0, None
    for frame in frames:
        thumbnail = np.asarray(Image.fromarray(frame.rgb).convert("L").resize((32, 18)), dtype=np.float64)
        thumbnail -= thumbnail.mean()
        if past is not None:
            power = np.sqrt((past**2).sum() * (thumbnail**2).sum())
            scene += bool(power > 0 and (past * thumbnail).sum() < CUT_CORRELATION * power)
        past = thumbnail
        yield scene, frame


OpenClip = Callable[[Path, int], ClipWriter | PartWriter]
"""Opens an output, which shows so many pictures of the clip's size side by side."""
OpenMaps = Callable[[Path], RawMaps]


def whole_clips(stack: ExitStack, job: Job, reader: ClipReader, network: Network) -> tuple[OpenClip, OpenMaps]:
    """Open outputs for all of a clip. `stack` closes them: complete if it ends well, else none of them exists."""
    settings = network.settings

    def clip(path: Path, columns: int) -> ClipWriter:
        size = (reader.height, reader.width * columns)
        strip, encoding = settings.strip_metadata, encoding_of(settings)
        return stack.enter_context(ClipWriter(path, reader, size, mark_of(job, settings), strip, encoding))

    def maps(path: Path) -> RawMaps:
        return stack.enter_context(RawMaps(path, network.scale))

    return clip, maps


class ClipSink:
    """The clips that a job writes: the translation and its side files."""

    def __init__(self, job: Job, network: Network, clip: OpenClip, maps: OpenMaps) -> None:
        settings, self.network = network.settings, network
        self.main = clip(job.target, 1)
        self.compare = clip(job.beside(".compare"), 3 if network.map else 2) if settings.compare else None
        self.side: ClipWriter | PartWriter | None = None
        self.raw: RawMaps | None = None
        if settings.uncertainty in ("map", "overlay"):
            self.side = clip(job.beside(".uncertainty" if settings.uncertainty == "map" else ".overlay"), 1)
        elif settings.uncertainty == "raw":
            self.raw = maps(job.beside(".uncertainty", ".zip"))

    def write(self, frame: ClipFrame, rgb: Pixels, values: MapValues) -> None:
        """Write one frame to all of them."""
        self.main.write(rgb, frame.pts)
        if self.compare:
            self.compare.write(self.network.side_by_side(frame.rgb, rgb, values), frame.pts)
        if values is None:
            return
        if self.side:
            self.side.write(self._side_picture(rgb, values), frame.pts)
        if self.raw:
            self.raw.write(values)

    def _side_picture(self, rgb: Pixels, values: NDArray[np.float32]) -> Pixels:
        if self.network.settings.uncertainty == "map":
            return colour_uncertainty(values, self.network.scale)
        return overlay_uncertainty(rgb, values, self.network.scale)
