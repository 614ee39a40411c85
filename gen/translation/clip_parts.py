"""One clip over several workers: which parts, how a worker translates one, and how they become one clip again.

A clip is split only where the result is that of a single run: the same frames at the same times, which differ by less
than a grey level on average, with the same sound and metadata. All other clips are translated whole.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen.interrupts import interrupts_held
from gen.media.files import temporary
from gen.media.folders import Job
from gen.media.video import (
    CannotJoin,
    ClipFrame,
    ClipLimits,
    ClipReader,
    ClipWriter,
    EncodedPart,
    Part,
    PartWriter,
    header_of,
    ticks,
)
from gen.translation.clips import ClipSink, Measures, clip_entry, encoding_of, open_clip, translate_frames
from gen.translation.made_with import mark_of
from gen.translation.maps import RawMaps
from gen.translation.network import Network
from gen.translation.outputs import outputs_of
from gen.translation.report import Entry
from gen.translation.run import Results
from gen.translation.settings import TranslateSettings

PART_SECONDS = 10.0
"""Least length of a part. Shorter ones finish hardly earlier than the whole: each begins with the warm-up, 2.3 s of
frames that are translated twice with the default settings, and ends with an encoder that is emptied."""
LEAST_PARTS_OF_WARM_UP = 4
"""A part is at least so many times as long as its warm-up, so that at most a fifth of the work is done twice."""
FORGOTTEN = 0.01
"""Share of the frames before the warm-up that the filters against flicker may still remember when a part begins."""
LEAST_WARM_UP = 1.0
"""Seconds."""
NOTHING = np.zeros((0, 0, 3), np.uint8)
"""For pixels that nobody looks at."""


class Piece(NamedTuple):
    """A part of a clip, as it is handed to a worker."""

    job: Job
    number: int
    part: Part
    """What is read: the part and its warm-up."""
    first: int
    """Time of the first frame of the warm-up, as `ClipFrame` of the whole clip has it."""
    begin: int
    """Time of the first frame of the part."""
    origin: Fraction
    """`ClipReader.origin` of the whole clip."""
    looks: tuple[Any, ...]
    """`looks_of` the whole clip."""
    header: bytes
    """`header_of` it, on the machine of the command."""
    warnings: list[str]
    """Of the whole clip."""
    paths: dict[Path, Path]
    """For each of the job's outputs, the file for what the worker makes of it."""


class PieceDone(NamedTuple):
    """What a worker made of a piece."""

    encoded: dict[Path, EncodedPart]
    """By output; a zip of maps is not among them."""
    paths: dict[Path, Path]
    measures: Measures
    runtime: str
    left_out: list[str]


class Plan(NamedTuple):
    """How a clip is split."""

    times: list[int]
    """Of all its frames, as `ClipFrame` has them."""
    ticks: list[int]
    """The same in the units of the output's packets."""
    begins: list[int]
    """The number of the first frame of each part."""
    pieces: list[Piece]
    """Without files."""


def plan_parts(job: Job, settings: TranslateSettings, limits: ClipLimits, workers: int) -> Plan | None:
    """At most so many parts for a clip; None if it is translated whole, because it is short or cannot be joined."""
    encoding = encoding_of(settings)
    in_part = settings.start is not None or settings.duration is not None
    limited = limits.frames is not None or limits.seconds is not None
    if workers < 2 or in_part or limited or not encoding.is_software:
        return None
    try:
        with open_clip(job.source, settings, limits) as reader:
            warm_up = warm_up_seconds(settings, reader.rate)
            least = max(PART_SECONDS, LEAST_PARTS_OF_WARM_UP * warm_up)
            parts = min(workers, int(reader.expected_frames / reader.rate / Fraction(least)))
            if parts < 2 or not _joinable(reader):
                return None
            times = reader.skim()
            if times is None or not reader.whole:
                return None
            return _plan(job, reader, times, parts, warm_up, header_of(reader, job.target.suffix.lower(), encoding))
    except Exception:  # whatever is wrong with the clip, who translates it says so
        return None


def _joinable(reader: ClipReader) -> bool:
    """Whether a decoder that begins within the clip gives the frames that one gives which begins at its start.

    In containers with an index, that is, and without a filter over several frames.
    """
    container, picture = reader.container.format.name, reader.format
    indexed = "mp4" in container or "matroska" in container
    return indexed and picture.field_order is None and not picture.deinterlaced


def _plan(job: Job, reader: ClipReader, times: list[int], parts: int, warm_up: float, header: bytes) -> Plan | None:
    shown = [ticks(time, reader) for time in times]
    if len(times) < 2 * parts or any(later <= earlier for earlier, later in pairwise(shown)):
        return None
    begins = [len(times) * number // parts for number in range(parts)]
    pieces: list[Piece] = []
    for number, begin in enumerate(begins):
        # At least the frame before, with which the flicker meter compares the first one.
        first = min(bisect_left(times, times[begin] - warm_up / float(reader.time_base)), max(begin - 1, 0))
        end = times[begins[number + 1]] if number + 1 < parts else None
        part = reader.between(times[first], end)
        about = reader.origin, looks_of(reader), header, reader.warnings
        pieces.append(Piece(job, number, part, times[first], times[begin], *about, {}))
    return Plan(times, shown, begins, pieces)


def warm_up_seconds(settings: TranslateSettings, rate: Fraction) -> float:
    """How long before a part the filters against flicker begin, so that they have forgotten what was before that.

    The averages of the statistics fade with exp(-t / smooth), the filter along the optical flow with steady^frames.
    """
    fade = math.log(FORGOTTEN)
    steady = fade / math.log(settings.steady) / float(rate) if settings.steady else 0.0
    return max(LEAST_WARM_UP, -fade * settings.smooth, steady)


def looks_of(reader: ClipReader) -> tuple[Any, ...]:
    """What the encoding of a clip depends on, from its header and its first frame."""
    picture = reader.format
    orientation, colours = tuple(picture.orientation), tuple(picture.colour)
    kind = picture.stored, orientation, colours, picture.depth, picture.alpha, picture.chroma, picture.unknown_matrix
    return *kind, picture.field_order, picture.deinterlaced, reader.pixel_shape, reader.rate, reader.time_base


def translate_piece(piece: Piece, network: Network, run: Results) -> PieceDone:
    """Translate a part of a clip. Raises `CannotJoin`, and what the translation of a clip raises."""
    job, encoding = piece.job, encoding_of(network.settings)
    writers: dict[Path, PartWriter] = {}
    with ClipReader(job.source, piece.part, run.watch.limits, encoding.keeps_fields) as reader:
        if looks_of(reader) != piece.looks:
            raise CannotJoin("its picture is of another kind later on")
        with ExitStack() as stack:

            def clip(path: Path, columns: int) -> PartWriter:
                size, suffix = (reader.height, reader.width * columns), job.target.suffix.lower()
                writers[path] = stack.enter_context(PartWriter(piece.paths[path], suffix, reader, size, encoding))
                return writers[path]

            def maps(path: Path) -> RawMaps:
                return stack.enter_context(RawMaps(piece.paths[path], network.scale))

            sink = ClipSink(job, network, clip, maps)
            if writers[job.target].header != piece.header:
                raise CannotJoin("encoders of different versions or settings would make its parts")
            measures = translate_frames(_timed(reader, piece), reader, network, run, sink, piece.begin)
        if not reader.whole or not set(reader.warnings) <= set(piece.warnings):
            raise CannotJoin("it is damaged, or its picture changes")
    encoded = {path: writer.part for path, writer in writers.items()}
    return PieceDone(encoded, piece.paths, measures, network.runtime, reader.left_out)


def _timed(reader: ClipReader, piece: Piece) -> Iterator[ClipFrame]:
    """The frames of a part at the times that they have in the whole clip."""
    shift = round(reader.origin / reader.time_base) - round(piece.origin / reader.time_base)
    for number, frame in enumerate(reader):
        if number == 0 and frame.pts + shift != piece.first:
            raise CannotJoin("its frames are not where its packets are")
        yield ClipFrame(frame.rgb, frame.pts + shift)


class SplitClip:
    """A clip whose parts are under way."""

    def __init__(self, job: Job, plan: Plan, settings: TranslateSettings) -> None:
        self.job, self.plan, self.settings = job, plan, settings
        self._done: dict[int, PieceDone] = {}
        self._files = ExitStack()

    def with_files(self, piece: Piece) -> Piece:
        """The piece with files to write to, other ones each time: a worker that is lost may still be writing.

        They lie hidden beside the outputs, belong to this process like its temporary files, and are gone after `close`.
        """
        paths = {path: self._files.enter_context(temporary(path)) for path in self._outputs}
        return piece._replace(job=self.job, paths=paths)

    @property
    def _outputs(self) -> Sequence[Path]:
        return outputs_of(self.job, self.settings)

    def add(self, piece: Piece, done: PieceDone) -> None:
        """Take what a worker made. Raises `CannotJoin` if frames are missing, or shown at other times."""
        begins = [*self.plan.begins, len(self.plan.times)]
        wanted = self.plan.ticks[begins[piece.number] : begins[piece.number + 1]]
        for part in done.encoded.values():
            if sorted(coded.pts for coded in part.packets) != wanted:
                raise CannotJoin("its frames are not where its packets are")
        self._done[piece.number] = done

    @property
    def complete(self) -> bool:
        """Whether all parts are there."""
        return len(self._done) == len(self.plan.pieces)

    def join(self, run: Results, closing: ExitStack) -> Entry:
        """Write the clip and the files beside it. `closing`: as in `gen.translation.clips`. Raises `CannotJoin`."""
        done = [self._done[number] for number in range(len(self.plan.pieces))]
        measures = Measures()
        for part in done:
            measures.add(part.measures)
        with open_clip(self.job.source, self.settings, run.watch.limits) as reader:
            if reader.skim() != self.plan.times:
                raise CannotJoin("the file has changed")
            with ExitStack() as stack:
                writers = [stack.enter_context(self._writer(path, reader, done)) for path in done[0].encoded]
                for words in (words for part in done for words in part.left_out):
                    reader.notes.lack(words)
                for time in self.plan.times:
                    run.check_stop()
                    for writer in writers:
                        writer.write(NOTHING, time)
                for path in set(self._outputs) - set(done[0].encoded):
                    maps = stack.enter_context(RawMaps(path))
                    for part in done:
                        maps.append(part.paths[path])
                closing.enter_context(interrupts_held())
        return clip_entry(self.job, reader, self.settings, done[-1].runtime, measures)

    def _writer(self, path: Path, reader: ClipReader, done: Sequence[PieceDone]) -> ClipWriter:
        settings, parts = self.settings, [part.encoded[path] for part in done]
        mark, encoding = mark_of(self.job, settings), encoding_of(settings)
        return ClipWriter(path, reader, parts[0].size, mark, settings.strip_metadata, encoding, parts)

    def close(self) -> None:
        """Remove the files of the parts."""
        self._files.close()
