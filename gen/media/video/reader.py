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
from gen.media.video.libav import open_input, reason
from gen.media.video.picture import PictureFormat, deinterlaced, lost_with

Timed = tuple[av.VideoFrame, int]

UNDECLARED_LOSS = Fraction(1)
"""Seconds that may be missing at the end of a clip that declares a duration but no frame count, because its last frame
may have a long display time."""

MAX_LEAD = Fraction(60)
"""Seconds before the first frame that are kept. A later start is the time of a recorder that was on before."""


class ClipFrame(NamedTuple):
    """One upright frame and its timestamp."""

    rgb: Pixels
    """(H, W, 3)."""
    pts: int
    """Presentation time, in units of the clip's time base."""


class Part(NamedTuple):
    """The part of a clip that is read, in seconds."""

    start: Fraction = Fraction(0)
    """From the beginning of the clip."""
    duration: Fraction | None = None
    """None: to the end."""


class ClipLimits(NamedTuple):
    """What a clip may hold at most. Checked on the frames as they are decoded, because a header can say anything."""

    pixels: int | None = None
    """Of one frame."""
    frames: int | None = None
    seconds: float | None = None


WHOLE, UNLIMITED = Part(), ClipLimits()


class ClipReader:
    """An open clip; iterate over it once for its frames.

    Times rise from frame to frame; where a clock steps back, time goes on by one frame. They count from the clip's
    zero, or from its first packet in formats whose clock starts anywhere (MPEG-TS).
    """

    def __init__(
        self, path: Path, part: Part = WHOLE, limits: ClipLimits = UNLIMITED, keep_fields: bool = True
    ) -> None:
        """`keep_fields`: whether interlaced frames stay so; else they are deinterlaced.

        Raises `BadInput` if the file is not a clip, has no picture that can be decoded, or exceeds `limits`.
        """
        self.path, self.part, self.limits = path, part, limits
        self.left_out: list[str] = []
        """What the output will lack of this clip, each in a few words; complete when all frames have been written."""
        self.warnings: list[str] = []
        """Faults that were worked around, each a sentence; complete when all frames have been written."""
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
        self._last = self._first[1]
        self.end: int | None = None
        """When the last frame ends, in units of the time base; known when all frames have been read."""

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

    def note(self, notes: list[str], words: str) -> None:
        """Add to `left_out` or `warnings` what is not there yet."""
        if words not in notes:
            notes.append(words)

    def _begin(self) -> tuple[Timed, Iterator[Timed]]:
        """Open the file. Returns the first frame of the part and an iterator over the others."""
        self._open()
        if self.part.start:
            self.container.seek(int(self._start * av.time_base))
        frames = iter(self.decoder)
        first = next(frames, None)
        late = self._start + 1 / self.rate
        if self.part.start and (first is None or first[1] * self.time_base > late):
            self.container.close()  # containers without an index cannot find it: read all from the beginning
            self._open()
            frames = iter(self.decoder)
            first = next(frames, None)
        if first is None:
            raise BadInput(f"{self.path}: no frame can be decoded ({self.decoder.reason or 'there is none'}).")
        for frame in chain([first], frames):
            if not self.part.start or frame[1] * self.time_base >= self._start:
                return frame, frames
        raise BadInput(f"{self.path}: the clip is over before {float(self.part.start):g} s, where its part starts.")

    def _open(self) -> None:
        """Open the file and its picture track."""
        pixels = self.limits.pixels
        # With the limit, decoders refuse larger frames before they take memory for them.
        options = {} if pixels is None else {"max_pixels": str(pixels)}
        self.container = open_input(self.path, options)
        self.stream = picture_track(self.container, self.path)
        self.stream.codec_context.options = options
        self._check_size(self.stream.codec_context.width, self.stream.codec_context.height)
        too_large = None if pixels is None else f"{self.path}: frames of more than {pixels / 1e6:g} megapixels."
        self.decoder = VideoDecoder(self.container, self.stream, too_large)

    @property
    def _zero(self) -> Fraction:
        """When the container's first packet is shown, in seconds of its clock."""
        return Fraction(self.container.start_time or 0, av.time_base)

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

    def _checked(self, frames: Iterable[Timed]) -> Iterator[Timed]:
        """The frames up to the part's end, at one size."""
        end = None if self.part.duration is None else (self._start + self.part.duration) / self.time_base
        for count, (frame, time) in enumerate(frames, 1):
            if end is not None and time >= end:
                break
            self._last = time
            self._check_size(frame.width, frame.height)
            self._check_length(count, (time - self._first[1]) * self.time_base)
            if (frame.height, frame.width) != self.format.stored:
                size = f"{self.format.stored[1]}x{self.format.stored[0]}"
                self.note(
                    self.warnings, f"The size changes within the clip; all frames are scaled to the first, {size}."
                )
            for words in lost_with(frame):
                self.note(self.left_out, words)
            yield self.format.resized(frame), time

    def _check_size(self, width: int, height: int) -> None:
        """Raises `BadInput` for frames that are too large."""
        if self.limits.pixels is not None and width * height > self.limits.pixels:
            megapixels = self.limits.pixels / 1e6
            raise BadInput(f"{self.path}: frames of {width}x{height}; at most {megapixels:g} megapixels are allowed.")

    def _check_length(self, count: int, seconds: Fraction) -> None:
        """Raises `BadInput` for too many frames, or too long a time."""
        if self.limits.frames is not None and count > self.limits.frames:
            raise BadInput(f"{self.path}: more than {self.limits.frames} frames, which is the limit.")
        if self.limits.seconds is not None and seconds > self.limits.seconds:
            raise BadInput(f"{self.path}: longer than {self.limits.seconds:g} s, which is the limit.")

    def _conclude(self, shift: int) -> None:
        """Set `end`, and say what was wrong with the clip."""
        part_end = None
        if self.part.duration is not None:
            part_end = int((self._start + self.part.duration) / self.time_base)
        self.end = self._end(part_end) - shift
        lost, corrupt = self.decoder.lost_before(part_end), self.decoder.corrupt
        back = len(self.decoder.clock.steps)
        for wrong, words in (
            (back, f"The clip's clock steps back {_times(back)}; time goes on there by one frame."),
            (lost, f"{_frames(lost)} could not be decoded; the frame before is shown in their place."),
            (corrupt, f"{_frames(corrupt)} are damaged and shown as far as they could be decoded."),
            (self.format.deinterlaced, "The clip is interlaced; the output is deinterlaced."),
            (self.format.hdr, f"The clip is HDR ({self.format.hdr}); the output is SDR, with white at 203 cd/m2."),
            (self._changed(), "The file changed while it was read; the output may lack its end."),
        ):
            if wrong:
                self.note(self.warnings, words)
        if part_end is None or self.decoder.end is None or self.decoder.end < part_end:
            self._tell_early_end()

    def _end(self, part_end: int | None) -> int:
        """When the last frame ends, by the container's clock in units of the time base.

        Packets of mp4 declare their part of the decode times; only their sum is right for frames shown out of order.
        """
        stream = self.stream
        declared = None
        if stream.duration and stream.start_time is not None:
            declared = round((stream.start_time + stream.duration) * (stream.time_base or 0) / self.time_base)
        ends = [end for end in (declared, self.decoder.end, part_end) if end is not None and end > self._last]
        return min(ends, default=self._last + max(1, round(1 / self.rate / self.time_base)))

    def _tell_early_end(self) -> None:
        """Say so if the file ended before the end declared in its header."""
        end = (self.decoder.end or 0) * self.time_base
        if self.declared_frames:
            length = ((self.stream.duration or 0) + (self.stream.start_time or 0)) * (self.stream.time_base or 0)
            # 1.5 frames: rounding of timestamps must not count as an early end. Packets are counted, not frames,
            # because a trimmed clip has frames that are not shown.
            short = not self.stream.duration or length - end > Fraction(3, 2) / self.rate
            early = self.decoder.packets < self.declared_frames and short and not self.part.start
        else:
            length = Fraction(self.container.duration or 0, av.time_base) + self._zero
            early = length - max(end, self.decoder.others_end) > UNDECLARED_LOSS
        if early:
            self.note(
                self.warnings,
                f"The file ends early: its header declares {float(length - self._zero):.1f} s, and "
                f"{float(end - self._zero):.1f} s are there.",
            )

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
