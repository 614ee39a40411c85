"""Read and write clips with PyAV in bounded memory, with timestamps, rotation and sound."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from gen.errors import BadInput
from gen.media.files import writing

Pixels = NDArray[np.uint8]

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm")


COPIED_SOUND = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"),
}
"""Audio codecs that players expect in these containers (ffmpeg would allow more); mkv takes any."""

UNTAGGED = 2
"""Code of an unspecified colour matrix (ITU-T H.273)."""

HD_WIDTH, HD_HEIGHT = 1280, 577
"""Players assume BT.709 for an untagged clip of at least either size, else BT.601."""

UNDECLARED_LOSS = 1.0
"""Seconds that may be missing at the end of a clip that declares a duration but no frame count, because its last frame
may have a long display time."""


class ClipFrame(NamedTuple):
    """One upright frame and its timestamp."""

    rgb: Pixels
    """(H, W, 3)."""
    pts: int
    """Presentation time, in units of the clip's time base."""


class ClipReader:
    """An open clip; iterate over it once for its frames."""

    def __init__(self, path: Path) -> None:
        """Raises `BadInput` if the file is not a clip or has no video stream."""
        self.path = path
        self.left_out: list[str] = []
        """What the output will lack of this clip, each in a few words; complete when all frames have been read."""
        self.warnings: list[str] = []
        """Faults that were worked around, each a sentence; complete when all frames have been read."""
        self._packets = 0
        self._ends: dict[bool, Fraction] = {}
        try:
            self.container = av.open(_url(path))
            self.stream = self.container.streams.video[0]
            self.stream.thread_type = "AUTO"
            self._decoded = self._decode()
            self._first = next(self._decoded)
        except (av.FFmpegError, OSError, IndexError, StopIteration) as error:
            raise BadInput(f"{path}: the clip cannot be read ({_reason(error)}).") from error
        self.quarter_turns = round(self._first.rotation / 90) % 4
        height, width = self._first.height, self._first.width
        self.height, self.width = (width, height) if self.quarter_turns % 2 else (height, width)
        self.rate: Fraction = self.stream.average_rate or Fraction(30)
        self.time_base: Fraction = self.stream.time_base or 1 / self.rate
        shape = self.stream.sample_aspect_ratio or Fraction(1)
        self.pixel_shape: Fraction = 1 / shape if self.quarter_turns % 2 else shape  # width / height of a pixel
        self.untagged = self._first.colorspace == UNTAGGED
        large = width >= HD_WIDTH or height >= HD_HEIGHT
        self.bt709 = large if self.untagged else self._first.colorspace == Colorspace.ITU709

    @property
    def declared_frames(self) -> int:
        """Frame count in the header; 0 if it gives none."""
        return self.stream.frames

    @property
    def expected_frames(self) -> int:
        """Frame count for a progress bar: declared, or estimated from duration and frame rate."""
        if self.declared_frames or not self.container.duration:
            return self.declared_frames
        return round(self.container.duration / av.time_base * self.rate)

    def __iter__(self) -> Iterator[ClipFrame]:
        """All frames in order. Raises `BadInput` if the clip ends before its declared end."""
        count = 0
        try:
            for frame in chain([self._first], self._decoded):
                pts = frame.pts if frame.pts is not None else round(count / self.rate / self.time_base)
                yield ClipFrame(self._upright(frame), pts)
                count += 1
        except av.FFmpegError as error:
            raise BadInput(f"{self.path}: the clip is damaged after {count} frames ({_reason(error)}).") from error
        if self._breaks_off():
            declared = f" of {self.declared_frames}" if self.declared_frames else ""
            raise BadInput(f"{self.path}: the clip ends early, after {count}{declared} frames.")

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Frames as stored. Audio packets are skipped, but their timestamps are recorded for `_breaks_off`."""
        for packet in self.container.demux():
            picture = packet.stream.index == self.stream.index
            if packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._ends[picture] = max(end, self._ends.get(picture, end))
            self._packets += picture and packet.size > 0
            if picture:
                yield from self.stream.decode(packet)  # pyright: ignore[reportArgumentType]

    def _upright(self, frame: av.VideoFrame) -> Pixels:
        if self.untagged and self.bt709:
            frame.colorspace = Colorspace.ITU709
        # To make a frame upright, rotate it counter-clockwise by `rotation`, which is also the direction of rot90.
        return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), self.quarter_turns), dtype=np.uint8)

    def _breaks_off(self) -> bool:
        """Whether the file ended before the end declared in its header.

        Counts packets, not frames, because a trimmed clip contains frames that are not shown.
        """
        if self.declared_frames:
            length = (self.stream.duration or 0) * self.time_base + (self.stream.start_time or 0) * self.time_base
            # 1.5 frames: rounding of timestamps must not count as an early end.
            short = length - self._ends.get(True, Fraction(0)) > 1.5 / self.rate
            return self._packets < self.declared_frames and (short or not self.stream.duration)
        length = Fraction(self.container.duration or 0, av.time_base)
        return length - max(self._ends.values(), default=Fraction(0)) > UNDECLARED_LOSS

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ClipWriter:
    """Writes an H.264 clip with the timestamps and the sound of another clip.

    A context manager: the file appears at the end of the block, and an exception leaves no file.
    """

    def __init__(
        self,
        path: Path,
        source: ClipReader,
        size: tuple[int, int],
        mark: str | None = None,
        strip_metadata: bool = False,
    ) -> None:
        """`size`: (H, W) of the frames; `mark`: the container's comment, kept even with `strip_metadata`."""
        self.path, self.source, self.size = path, source, size
        self.metadata = {} if strip_metadata else dict(source.container.metadata)
        self.metadata |= {"comment": mark} if mark else {}
        self._last_pts: int | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closes what was opened if a later line fails
            partial = stack.enter_context(writing(self.path))
            stack.enter_context(self._naming())
            self.container: OutputContainer = stack.enter_context(av.open(_url(partial), "w"))
            self.container.metadata.update(self.metadata)
            self._add_picture()
            self._sound = stack.enter_context(SoundTrack(self.source.path, self.container, self.path.suffix.lower()))
            self._stack = stack.pop_all()
        return self

    @contextmanager
    def _naming(self) -> Generator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise BadInput(f"{self.path}: the clip cannot be written ({_reason(error)}).") from error

    def _add_picture(self) -> None:
        height, width = self.size
        self.stream: Any = self.container.add_stream("libx264", rate=self.source.rate)
        self.stream.width, self.stream.height = width, height
        # yuv420p needs even sides; a clip with an odd side keeps its size with full chroma.
        self.stream.pix_fmt = "yuv420p" if height % 2 == width % 2 == 0 else "yuv444p"
        # CRF 18 is visually lossless; "veryfast" keeps encoding cheaper than the network.
        self.stream.options = {"crf": "18", "preset": "veryfast"}
        self.stream.codec_context.time_base = self.source.time_base
        self.stream.codec_context.sample_aspect_ratio = self.source.pixel_shape
        self.matrix = Colorspace.ITU709 if self.source.bt709 else Colorspace.ITU601
        code = 1 if self.source.bt709 else 6  # BT.709 and BT.601 in ITU-T H.273
        context = self.stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = code, code, code
        context.color_range = ColorRange.MPEG

    def write(self, rgb: Pixels, pts: int) -> None:
        """Append a frame (H, W, 3), shown at `pts` in the source's time base, and the sound up to it."""
        if self._last_pts is not None:  # damaged recordings repeat timestamps; encoders refuse them
            pts = max(pts, self._last_pts + 1)
        self._last_pts = pts
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame = frame.reformat(
            format=self.stream.pix_fmt,
            dst_colorspace=self.matrix,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
        )
        frame.pts, frame.time_base = pts, self.source.time_base
        self.container.mux(self.stream.encode(frame))
        self._sound.copy_until(pts * self.source.time_base)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.container.mux(self.stream.encode())
                self._sound.copy_until(None)
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)


def write_clip(path: Path, frames: Iterable[Pixels], rate: int) -> None:
    """Write frames (H, W, 3), all of one size with even sides, as an H.264 clip of `rate` frames per second.

    Atomic. Raises `BadInput` if `path` cannot be written.
    """
    with writing(path) as partial, av.open(_url(partial), "w") as container:
        stream: Any = container.add_stream("libx264", rate=rate)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "slow"}
        for index, rgb in enumerate(frames):
            if index == 0:
                stream.height, stream.width = rgb.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


class SoundTrack:
    """Copies a clip's first audio stream into another container, re-encoded as AAC if the container needs it.

    Audio and video packets must be interleaved in the file, because a player that streams it cannot seek.
    """

    def __init__(self, source: Path, container: OutputContainer, suffix: str) -> None:
        """Add the stream to `container`, a `suffix` (".mkv") file to which no packet has been written yet."""
        self._output = container
        self._input = av.open(_url(source))
        self._packets: Iterator[av.Packet[Any]] = iter(())
        self._next: av.Packet[Any] | None = None
        if self._input.streams.audio:
            self._add(self._input.streams.audio[0], suffix)

    def _add(self, sound: AudioStream, suffix: str) -> None:
        name = sound.codec_context.codec.canonical_name
        self._copied = name in COPIED_SOUND.get(suffix, self._output.supported_codecs)
        if self._copied:
            self._stream: Any = self._output.add_stream_from_template(sound)
        else:
            self._stream = self._output.add_stream("aac", rate=sound.codec_context.sample_rate)
            layout = sound.codec_context.layout
            # Old containers give a channel count without a layout, but the encoder needs a layout.
            self._stream.layout = {1: "mono", 2: "stereo"}.get(layout.nb_channels, layout)
            self._stream.format = "fltp"
        self._packets = self._input.demux(sound)
        self._next = next(self._packets, None)

    def copy_until(self, time: Fraction | None) -> None:
        """Write the audio before `time` in seconds; None: all that is left."""
        while (packet := self._next) is not None:
            if time is not None and packet.dts is not None and packet.dts * packet.time_base > time:
                return
            self._copy(packet)
            self._next = next(self._packets, None)
            if self._next is None and not self._copied:
                self._output.mux(self._stream.encode(None))

    def _copy(self, packet: "av.Packet[Any]") -> None:
        if not self._copied:
            for frame in packet.decode():
                self._output.mux(self._stream.encode(frame))
        elif packet.dts is not None:  # a demuxer's last packet is empty
            packet.stream = self._stream
            self._output.mux(packet)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()


def _url(path: Path) -> str:
    """A URL for ffmpeg, which would read 12:30.mp4 as protocol "12"."""
    return f"file:{path}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
