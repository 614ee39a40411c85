"""Clips through PyAV: frames in and out in bounded memory, with their times, rotation and sound."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from gen.errors import BadInput
from gen.media.files import writing

Pixels = NDArray[np.uint8]

COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac")
"""Sound that mp4 and mov both hold; mkv holds any."""
MP4_SOUND = ("opus", "flac")

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm")


class ClipFrame(NamedTuple):
    """One upright frame and when it is shown."""

    rgb: Pixels
    """(H, W, 3)."""
    pts: int
    """Presentation time, in units of the clip's time base."""


class ClipReader:
    """A clip, opened: iterate over it once for its frames."""

    def __init__(self, path: Path) -> None:
        """Raises `BadInput` for a file that is no clip, or has no picture."""
        self.path = path
        try:
            self.container = av.open(str(path))
            self.stream = self.container.streams.video[0]
            self.stream.thread_type = "AUTO"
            first = next(self.container.decode(self.stream))
            self.container.seek(0)
        except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
            raise BadInput(f"{path}: the clip cannot be read ({_reason(error)}).") from error
        self.quarter_turns = round(first.rotation / 90) % 4
        height, width = first.height, first.width
        self.height, self.width = (width, height) if self.quarter_turns % 2 else (height, width)
        self.rate: Fraction = self.stream.average_rate or Fraction(30)
        self.time_base: Fraction = self.stream.time_base or 1 / self.rate
        self.bt709 = first.colorspace == Colorspace.ITU709

    @property
    def declared_frames(self) -> int:
        """Frames that the file says it has; 0 where it does not say."""
        return self.stream.frames

    @property
    def expected_frames(self) -> int:
        """Frames for a progress bar: declared, or from the length."""
        if self.declared_frames or not self.container.duration:
            return self.declared_frames
        return round(self.container.duration / av.time_base * self.rate)

    def __iter__(self) -> Iterator[ClipFrame]:
        """All frames in order. Raises `BadInput` where the clip breaks off before its declared end."""
        count = 0
        end = 0.0
        try:
            for frame in self.container.decode(self.stream):
                # ffmpeg turns counter-clockwise by `rotation` to make a frame upright, as rot90 does.
                rgb = np.rot90(frame.to_ndarray(format="rgb24"), self.quarter_turns)
                pts = frame.pts if frame.pts is not None else round(count / self.rate / self.time_base)
                yield ClipFrame(np.ascontiguousarray(rgb, dtype=np.uint8), pts)
                count += 1
                end = float((pts - (self.stream.start_time or 0)) * self.time_base + 4 / self.rate)
        except av.FFmpegError as error:
            raise BadInput(f"{self.path}: the clip breaks off after {count} frames ({_reason(error)}).") from error
        # Fewer frames than declared is no fault by itself: an edit list may hide some. Fewer and too short is.
        if count < self.declared_frames and end < float((self.stream.duration or 0) * self.time_base):
            raise BadInput(f"{self.path}: the clip breaks off after {count} of {self.declared_frames} frames.")

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClipWriter:
    """An H.264 clip with the times and the sound of another: whole at the end, or not there.

    Use as a context manager; leaving it by an exception removes what was written.
    """

    def __init__(
        self,
        path: Path,
        source: ClipReader,
        size: tuple[int, int],
        mark: str | None = None,
        strip_metadata: bool = False,
    ) -> None:
        """`size` (H, W) of the frames to come; `mark` goes into the container's comment, stripped or not."""
        self.path, self.source, self.size, self.mark = path, source, size, mark
        self.metadata = {} if strip_metadata else dict(source.container.metadata)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        partial = self._stack.enter_context(writing(self.path))
        try:
            self.container = self._stack.enter_context(av.open(str(partial), "w"))
        except OSError as error:
            raise BadInput(f"{self.path}: the clip cannot be written ({_reason(error)}).") from error
        self.container.metadata.update(self.metadata | ({"comment": self.mark} if self.mark else {}))
        self._add_picture()
        self._add_sound()
        return self

    def _add_picture(self) -> None:
        height, width = self.size
        self.stream: Any = self.container.add_stream("libx264", rate=self.source.rate)
        self.stream.width, self.stream.height = width, height
        # Chroma at half size needs even sides; an odd clip keeps its size with full chroma.
        self.stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        self.stream.options = {"crf": "18", "preset": "veryfast"}
        self.stream.codec_context.time_base = self.source.time_base
        self.matrix = Colorspace.ITU709 if self.source.bt709 else Colorspace.ITU601
        code = 1 if self.source.bt709 else 6  # ITU-T H.273
        context = self.stream.codec_context
        aspect = self.source.stream.sample_aspect_ratio
        if aspect and self.size == (self.source.height, self.source.width) and not self.source.quarter_turns % 2:
            context.sample_aspect_ratio = aspect
        context.colorspace, context.color_primaries, context.color_trc = code, code, code
        context.color_range = ColorRange.MPEG

    def _add_sound(self) -> None:
        """The sound packets are copied as they are; what the container cannot hold is encoded anew as AAC."""
        self.packets: Iterator[Any] = iter(())
        sound = next(iter(self.source.container.streams.audio), None)
        if sound is not None:
            name, suffix = sound.codec_context.name, self.path.suffix.lower()
            self.copy_sound = suffix == ".mkv" or name in COPIED_SOUND or (suffix == ".mp4" and name in MP4_SOUND)
            if self.copy_sound:
                self.sound: Any = self.container.add_stream_from_template(sound)
            else:
                self.sound = self.container.add_stream("aac", rate=sound.codec_context.sample_rate)
                channels = sound.codec_context.layout.nb_channels
                # Old containers count channels without naming them; an encoder wants names.
                self.sound.layout = {1: "mono", 2: "stereo"}.get(channels, sound.codec_context.layout)
                self.sound.format = "fltp"
            again = self._stack.enter_context(av.open(str(self.source.path)))
            self.sound_base = sound.time_base or Fraction(1, sound.codec_context.sample_rate)
            self.packets = (p for p in again.demux(audio=0) if p.dts is not None)
        self.packet = next(self.packets, None)

    def write(self, rgb: Pixels, pts: int) -> None:
        """Append a frame (H, W, 3), shown at `pts` in the source's time base."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(
            format=self.stream.pix_fmt,
            dst_colorspace=self.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base = pts, self.source.time_base
        self._write_sound(float(pts * self.source.time_base))  # beside its picture, where players look for it
        self.container.mux(self.stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.container.mux(self.stream.encode())
                self._write_sound(math.inf)
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)

    def _write_sound(self, until: float) -> None:
        """Sound packets that begin before `until` seconds."""
        while self.packet is not None and float((self.packet.dts or 0) * self.sound_base) <= until:
            if self.copy_sound:
                self.packet.stream = self.sound
                self.container.mux(self.packet)
            else:
                for frame in self.packet.decode():
                    self.container.mux(self.sound.encode(frame))
            self.packet = next(self.packets, None)
            if self.packet is None and not self.copy_sound:
                self.container.mux(self.sound.encode(None))


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
