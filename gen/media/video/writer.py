"""Write a clip with the times, colours, sound, further tracks and metadata of another one."""

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.container import OutputContainer
from av.stream import Discard, Disposition, Stream

from gen.errors import BadInput
from gen.media.files import writing
from gen.media.video.boxes import copy_xmp
from gen.media.video.colour import Pixels
from gen.media.video.encoders import H264, Encoding, PictureStream, check_encoding
from gen.media.video.libav import reason, url
from gen.media.video.metadata import chapters_within, lost_metadata, muxer_options, with_mark
from gen.media.video.reader import ClipReader
from gen.media.video.tracks import Track, Tracks, Window, describe


class ClipWriter:
    """Writes frames as a clip with all else that the source has and the container can hold.

    A context manager: the file appears at the end of the block, and an exception leaves no file. What the container
    cannot hold is named in the source's `left_out`.
    """

    def __init__(
        self,
        path: Path,
        source: ClipReader,
        size: tuple[int, int],
        mark: str | None = None,
        strip_metadata: bool = False,
        encoding: Encoding = H264,
    ) -> None:
        """`size`: (H, W) of the frames; `mark`: the container's comment, kept even with `strip_metadata`.

        `strip_metadata` leaves out all tracks but sound too: subtitles and data hold places.
        """
        self.path, self.source, self.size = path, source, size
        self.encoding, self._strip = encoding, strip_metadata
        self.metadata = with_mark({} if strip_metadata else source.container.metadata, mark)
        self._waiting: tuple[Pixels, int] | None = None
        self._durations: dict[int, int] = {}
        self._first: tuple[int, int] | None = None  # display and decode time of the first packet

    def __enter__(self) -> Self:
        suffix = self.path.suffix.lower()
        if self.encoding != H264:
            check_encoding(self.encoding, suffix)
        with ExitStack() as stack:  # closes what was opened if a later line fails
            partial = stack.enter_context(writing(self.path))
            stack.enter_context(self._naming())
            stack.enter_context(self._completing(partial))
            options = muxer_options(suffix, self.metadata)
            self.container: OutputContainer = stack.enter_context(av.open(url(partial), "w", options=options))
            self.container.metadata.update(self.metadata)
            self._add_picture()
            self._tracks = Tracks(self.container, suffix, self.source.notes)
            stack.callback(self._tracks.close)
            self._add_tracks(suffix)
            self._stack = stack.pop_all()
        return self

    @contextmanager
    def _naming(self) -> Generator[None]:
        try:
            yield
        except av.FFmpegError as error:
            raise BadInput(f"{self.path}: the clip cannot be written ({reason(error)}).") from error

    def _add_picture(self) -> None:
        source, picture = self.source, self.source.format
        self.picture = PictureStream(
            self.container,
            self.encoding,
            self.size,
            source.rate,
            source.time_base,
            picture.chroma,
            picture.output_colour,
            picture.field_order,
        )
        stream = self.picture.stream
        stream.codec_context.sample_aspect_ratio = source.pixel_shape
        if not self._strip:
            stream.metadata.update(_kept(source.stream.metadata))
        stream.disposition = source.stream.disposition
        self._note_losses(self.picture.chroma)

    def _note_losses(self, chroma: str) -> None:
        """What the picture itself loses."""
        picture = self.source.format
        bits = self.encoding.bit_depth
        for lost, words in (
            (picture.depth > bits, f"bit depth: {picture.depth} bits in the source, {bits} in the output"),
            (picture.depth > 8 and bits > 8, "precision beyond 8 bits: models work in 8 bits"),
            (picture.alpha, "transparency"),
            (chroma < picture.chroma, f"colour resolution: {picture.chroma} in the source, {chroma} in the output"),
        ):
            if lost:
                self.source.notes.lack(words)

    def _add_tracks(self, suffix: str) -> None:
        """Add all other tracks of the source, and its chapters."""
        source = self.source
        origin = source.origin
        end = None if source.part.duration is None else origin + source.part.duration
        window = Window(origin, origin if source.part.start else None, end)
        chapters = source.container.chapters()
        for stream in source.container.streams:
            if stream.index == source.stream.index or _is_written_anew(stream, len(chapters)):
                continue
            if self._strip and stream.type != "audio":
                self.source.notes.lack(f"{describe(stream)}: metadata is stripped")
            elif stream.type == "attachment":
                self._attach(stream, suffix)
            elif suffix == ".mkv" and stream.disposition & Disposition.attached_pic:
                self._attach_cover(Track(source.path, stream.index, window, source.decoder.clock))
            else:
                self._tracks.add(Track(source.path, stream.index, window, source.decoder.clock))
        self._chapters = [] if self._strip else chapters_within(chapters, origin, end)
        self.container.set_chapters(self._chapters)

    def _attach(self, stream: Any, suffix: str) -> None:
        """Keep an attached file, such as a font of the subtitles."""
        if suffix == ".mkv":
            self.container.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)
        else:
            self.source.notes.lack(f"attached file {stream.name}: {suffix} cannot hold it")

    def _attach_cover(self, track: Track) -> None:
        """Matroska has cover pictures as attached files."""
        codec: Any = track.stream.codec_context
        kind = "png" if codec is not None and codec.name == "png" else "jpeg"
        if track.first is not None:
            name = track.stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
            self.container.add_attachment(name, f"image/{kind}", bytes(track.first))
        track.close()

    def write(self, rgb: Pixels, pts: int) -> None:
        """Append a frame (H, W, 3), shown at `pts` in the source's time base, and the other tracks up to it."""
        if self._waiting is not None:  # only now is it known how long the frame before is shown
            pts = max(pts, self._waiting[1] + 1)  # encoders refuse times that do not rise
            self._encode(*self._waiting, pts - self._waiting[1])
        self._waiting = rgb, pts

    def _encode(self, rgb: Pixels, pts: int, duration: int) -> None:
        self._durations[pts] = duration
        self._mux(self.picture.encode(rgb, pts))
        self._tracks.copy_until(pts * self.source.time_base)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            if packet.dts is None or packet.dts > packet.pts:  # x265 invents decode times of a clip of two frames
                packet.dts = packet.pts
            if self._first is None:
                self._first = packet.pts, packet.dts
            duration = self._durations.pop(self._ticks(packet, packet.pts), None)
            if duration is not None:
                packet.duration = round(duration * self.source.time_base / packet.time_base)
            self.container.mux(packet)

    def _ticks(self, packet: Any, time: int) -> int:
        """A packet's time in the source's time base."""
        return round(time * packet.time_base / self.source.time_base)

    def _finish(self) -> None:
        """Write what is still waiting."""
        end = 0
        if self._waiting is not None:
            rgb, pts = self._waiting
            step = max(1, round(1 / self.source.rate / self.source.time_base))
            end = max(pts + 1, self.source.end if self.source.end is not None else pts + step)
            self._encode(rgb, pts, end - pts)
        packets = self.picture.rest()
        self._mux(packets[:-1])
        for last in packets[-1:]:
            if self.path.suffix.lower() != ".mkv" and self._first is not None:
                # mp4 has durations of decoding, and a track is as long as their sum.
                shown, decoded = end - self._ticks(last, self._first[0]), self._ticks(last, last.dts - self._first[1])
                at = self._ticks(last, last.pts)
                self._durations[at] = max(self._durations.get(at, 1), shown - decoded)
            self._mux([last])
        self._tracks.copy_until(None)

    @contextmanager
    def _completing(self, partial: Path) -> Generator[None]:
        """After the container is closed without an error: what it lacks."""
        yield
        if self._strip:
            return
        with suppress(OSError):
            copy_xmp(self.source.path, partial)
            for words in lost_metadata(self.source.container, self.source.path, partial, len(self._chapters)):
                self.source.notes.lack(words)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    """A stream's metadata without what its old encoder said of itself."""
    own = ("encoder", "duration", "bps", "number_of", "_statistics", "rotate")
    return {key: value for key, value in metadata.items() if not key.lower().startswith(own)}


def _is_written_anew(stream: Stream, chapters: int) -> bool:
    """Whether the output gets such a track from the metadata: a time code, or the titles of chapters."""
    if stream.type == "data":
        return "timecode" in stream.metadata or (chapters > 0 and stream.discard == Discard.all)
    context: Any = stream.codec_context
    return stream.type == "subtitle" and context.codec_tag == "text" and stream.frames == chapters


OWN = Encoding(crf=20)
"""Of clips that gen renders."""


def write_clip(path: Path, frames: Iterable[Pixels], rate: int | Fraction) -> None:
    """Write frames (H, W, 3), all of one size with even sides, as an H.264 clip of `rate` frames per second.

    Atomic. Raises `BadInput` if `path` cannot be written.
    """
    with writing(path) as partial, av.open(url(partial), "w") as container:
        stream: PictureStream | None = None
        for index, rgb in enumerate(frames):
            if stream is None:
                size, rate = (rgb.shape[0], rgb.shape[1]), Fraction(rate)
                stream = PictureStream(container, OWN, size, rate, 1 / rate)
            container.mux(stream.encode(rgb, index))
        if stream is not None:
            container.mux(stream.rest())
