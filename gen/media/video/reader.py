"""Read a clip in bounded memory: upright RGB frames and their times, and what is wrong with the file."""

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Self

import av
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.stream import VideoStream

from gen.errors import BadInput
from gen.media.video.colour import Pixels
from gen.media.video.decoder import VideoDecoder
from gen.media.video.ending import early_end, end_of_picture
from gen.media.video.libav import open_input, reason, seek
from gen.media.video.limits import UNLIMITED, WHOLE, ClipLimits, Part
from gen.media.video.notes import Notes
from gen.media.video.picture import PictureFormat, deinterlaced, lost_with

Timed = tuple[av.VideoFrame, int]

MAX_LEAD = Fraction(60)
"""Seconds before the first frame that are kept. A later start is the time of a recorder that was on before."""


class ClipFrame(NamedTuple):
    """One upright frame and its timestamp."""

    rgb: Pixels
    """(H, W, 3)."""
    pts: int
    """Presentation time, in units of the clip's time base."""


class ClipReader:
    """An open clip; iterate over it once for its frames.

    Times rise from frame to frame; where a clock jumps, time goes on by one frame. They count from the clip's
    zero, or from its first packet in formats whose clock starts anywhere (MPEG-TS).
    """

    def __init__(
        self, path: Path, part: Part = WHOLE, limits: ClipLimits = UNLIMITED, keep_fields: bool = True
    ) -> None:
        """`keep_fields`: whether interlaced frames stay so; else they are deinterlaced.

        Raises `BadInput` if the file is not a clip, has no picture that can be decoded, or exceeds `limits`.
        """
        self.path, self.part, self.limits = path, part, limits
        self.notes = Notes()
        try:
            self._before = os.stat(path)
            self._first, self._rest = self._begin()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadInput(f"{path}: the clip cannot be read ({reason(error)}).") from error
        self.format = PictureFormat(self._first[0], self.stream.codec_context.field_order, keep_fields)
        self.height, self.width = self.format.height, self.format.width
        self.origin = self._origin()
        shape = self.stream.sample_aspect_ratio or Fraction(1)
        # Width over height of a pixel, as shown.
        self.pixel_shape: Fraction = 1 / shape if self.format.orientation.transposed else shape
        self._coded_shape = self.stream.codec_context.sample_aspect_ratio
        self._last = self._first[1]
        self.end: int | None = None
        """When the last frame ends, in units of the time base; known when all frames have been read."""
        self.whole = True
        """Whether nothing of the file is damaged or lost, as far as it shows; known when all frames have been read."""

    @property
    def left_out(self) -> list[str]:
        """What the output will lack of this clip, in a few words each; complete when the output is written."""
        return self.notes.left_out

    @property
    def warnings(self) -> list[str]:
        """Faults that were worked around, a sentence each; complete when the output is written."""
        return self.notes.warnings

    @property
    def rate(self) -> Fraction:
        """Mean frames per second, as far as the container says."""
        return self.decoder.rate

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit of the frames' times."""
        return self.decoder.time_base

    @property
    def declared_frames(self) -> int:
        """Frame count in the header; 0 if it gives none."""
        return max(0, self.stream.frames)

    @property
    def expected_frames(self) -> int:
        """Frame count for a progress bar: declared, or estimated from duration and frame rate; 0 if unknown."""
        length = Fraction(self.container.duration or 0, av.time_base)
        if self.part == WHOLE and self.declared_frames:
            return self.declared_frames
        length = max(Fraction(0), length - self.part.start)
        if self.part.duration is not None:
            length = min(length, self.part.duration) if length else self.part.duration
        return round(length * self.rate)

    def _begin(self) -> tuple[Timed, Iterator[Timed]]:
        """Open the file. Returns the first frame of the part and an iterator over the others."""
        self._open()
        # AVI has no display times: they are counted, and after a seek nobody knows how many frames a decoder drops.
        blind = self.container.format.name == "avi" and self.stream.codec_context.reorder_depth > 0
        found = not self.part.start or (not blind and seek(self.container, self._start))
        self.decoder.waits_for_key = bool(self.part.start)
        frames = iter(self.decoder)
        first = next(frames, None)
        late = self._start + Fraction(2, av.time_base)  # in whose units `_zero` is rounded
        if not found or (self.part.start and (first is None or first[1] * self.time_base > late)):
            self.container.close()  # containers without an index cannot find it: read all from the beginning
            self._open()
            frames = iter(self.decoder)
            first = next(frames, None)
        if first is None:
            raise BadInput(f"{self.path}: no frame can be decoded ({self.decoder.reason or 'there is none'}).")
        for frame in chain([first], frames):
            time = frame[1] * self.time_base
            if self.part.duration is not None and time >= self._start + self.part.duration:
                end = float(self.part.start + self.part.duration)
                raise BadInput(f"{self.path}: no frame starts between {float(self.part.start):g} and {end:g} s.")
            if not self.part.start or time >= self._start:
                return frame, frames
        raise BadInput(
            f"{self.path}: no frame begins at {float(self.part.start):g} s or later; choose an earlier start."
        )

    def _open(self) -> None:
        """Open the file and its picture track."""
        pixels = self.limits.pixels
        # With the limit, decoders refuse larger frames before they take memory for them.
        options = {} if pixels is None else {"max_pixels": str(pixels)}
        self.container = open_input(self.path, options)
        self.stream = picture_track(self.container, self.path)
        self.stream.codec_context.options = options
        self.limits.check_size(self.path, self.stream.codec_context.width, self.stream.codec_context.height)
        too_large = None if pixels is None else f"{self.path}: frames of more than {pixels / 1e6:g} megapixels."
        self.decoder = VideoDecoder(self.container, self.stream, too_large)

    @property
    def _zero(self) -> Fraction:
        """When the container's first packet is shown, in seconds of its clock."""
        rounded = Fraction(self.container.start_time or 0, av.time_base)  # which would part a frame from its time
        begins = (
            s.start_time * s.time_base for s in self.container.streams if s.start_time is not None and s.time_base
        )
        return next((exact for exact in begins if abs(exact - rounded) * av.time_base < 1), rounded)

    @property
    def _start(self) -> Fraction:
        """When the part starts, in seconds of the container's clock."""
        return self._zero + self.part.start

    def _origin(self) -> Fraction:
        """The time that becomes zero, in seconds of the container's clock."""
        if self.part.start:
            return self._start
        anywhere = self.container.format.flags & Flags.ts_discont.value or self._zero > MAX_LEAD
        return min(self._zero if anywhere else Fraction(0), self._first[1] * self.time_base)

    def __iter__(self) -> Iterator[ClipFrame]:
        """All frames of the part in order. Raises `BadInput` where they exceed the limits."""
        frames = self._checked(chain([self._first], self._rest))
        if self.format.deinterlaced:
            frames = deinterlaced(frames)
        shift = round(self.origin / self.time_base)
        for frame, time in frames:
            yield ClipFrame(self.format.upright(frame), time - shift)
        self._conclude(shift)

    def skim(self) -> list[int] | None:
        """Read the clip to its end without decoding it, instead of iterating. When its frames are shown, as `pts` says.

        None if only decoding can tell. `end`, `whole` and the warnings are then those of a clip that decodes without a
        fault. For whole clips, not for a part.
        """
        first = self._first[1]
        self.container.close()
        self._open()
        times = self.decoder.skim()
        self._last = times[-1] if times else first
        shift = round(self.origin / self.time_base)
        self._conclude(shift)
        return [time - shift for time in times] if times and times[0] == first else None

    def between(self, first: int, end: int | None) -> Part:
        """The part with the frames from `first` on, until before `end`, as `pts` says; None: to the end."""
        start = max(Fraction(0), self.origin + first * self.time_base - self._zero)
        return Part(start, None if end is None else (end - first) * self.time_base)

    def _checked(self, frames: Iterable[Timed]) -> Iterator[Timed]:
        """The frames up to the part's end, at one size."""
        end = None if self.part.duration is None else (self._start + self.part.duration) / self.time_base
        for count, (frame, time) in enumerate(frames, 1):
            if end is not None and time >= end:
                break
            self._last = time
            self.limits.check_size(self.path, frame.width, frame.height)
            self.limits.check_length(self.path, count, (time - self._first[1]) * self.time_base)
            if (frame.height, frame.width) != self.format.stored:
                size = f"{self.format.stored[1]}x{self.format.stored[0]}"
                self.notes.warn(f"The size changes within the clip; all frames are scaled to the first, {size}.")
            if self.stream.codec_context.sample_aspect_ratio != self._coded_shape:
                self.notes.warn("The shape of the pixels changes within the clip; the output has that of the first.")
            for words in lost_with(frame):
                self.notes.lack(words)
            yield self.format.resized(frame), time

    def _conclude(self, shift: int) -> None:
        """Set `end`, and say what was wrong with the clip."""
        decoder, part_end = self.decoder, None
        if self.part.duration is not None:
            part_end = int((self._start + self.part.duration) / self.time_base)
        part_start = int(self._start / self.time_base) if self.part.start else None
        self.end = end_of_picture(decoder, self._last, part_end) - shift
        matrix = self.format.unknown_matrix
        jumps, lost, corrupt = len(decoder.clock.jumps), decoder.lost_between(part_start, part_end), decoder.corrupt
        gaps = float(decoder.frame_clock.gaps * self.time_base - lost / decoder.rate)
        for wrong, words in (
            (jumps, f"The clip's clock jumps {_times(jumps)}; time goes on there by one frame."),
            (lost, f"{_frames(lost)} could not be decoded; the frame before is shown instead."),
            (
                gaps > 1.5 / decoder.rate,
                f"Frames are missing for {gaps:.1f} s in all; the frame before is shown instead.",
            ),
            (corrupt, f"{_frames(corrupt)} could be decoded only in part."),
            (self.format.deinterlaced, "The clip is interlaced; the output is deinterlaced."),
            (self.format.hdr, f"The clip is HDR ({self.format.hdr}); the output is SDR, with white at 203 cd/m2."),
            (matrix, f"The clip's colours are stored as {matrix}, which is not known here; they will be wrong."),
            (self._changed(), "The file changed while it was read; the output may lack its end."),
        ):
            if wrong:
                self.notes.warn(words)
        early = early_end(self.container, decoder) if self.part == WHOLE else None
        if early:
            self.notes.warn(early)
        self.whole = not (jumps or lost or corrupt or early)  # missing frames are missing in a translation too

    def _changed(self) -> bool:
        """Whether somebody wrote to the file since it was opened."""
        try:
            now = os.stat(self.path)
        except OSError:
            return True
        return (now.st_size, now.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns)

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def picture_track(container: InputContainer, path: Path) -> VideoStream:
    """The track that players show: the default one, of several the largest, never a cover picture.

    Raises `BadInput` if there is none.
    """
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    tracks = [s for s in container.streams.video if not s.disposition & covers]
    known = [s for s in tracks if getattr(s, "codec_context", None) is not None]
    if not known:
        have = "a picture track of unknown codec" if tracks else "no picture track"
        raise BadInput(f"{path}: the clip has {have}.")
    return max(
        known,
        key=lambda s: (bool(s.disposition & Disposition.default), s.codec_context.width * s.codec_context.height),
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _frames(count: int) -> str:
    return f"{count} frame{'s' * (count != 1)}"
