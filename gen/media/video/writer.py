"""Write a clip with the times, colours, sound, further tracks and metadata of another one."""

from collections.abc import Generator, Iterable, Sequence
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
from gen.media.video.durations import PictureTrack
from gen.media.video.encoders import H264, Encoding, PictureStream, check_encoding
from gen.media.video.joining import EncodedPart, picture_stream
from gen.media.video.libav import reason, url
from gen.media.video.metadata import chapters_within, lost_metadata, muxer_options, of_track, with_mark, within
from gen.media.video.reader import ClipReader
from gen.media.video.track import Track, Window
from gen.media.video.tracks import Tracks, describe


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
        parts: Sequence[EncodedPart] = (),
    ) -> None:
        """`size`: (H, W) of the frames; `mark`: the container's comment, kept even with `strip_metadata`.

        `strip_metadata` leaves out all tracks but sound too: subtitles and data hold places. `parts`: the encoded
        picture of the whole clip; what is written then counts for its times alone, and `CannotJoin` may be raised.
        """
        self.path, self.source, self.size = path, source, size
        self.encoding, self._strip, self._parts = encoding, strip_metadata, parts
        self._cut = source.part.start > 0
        self.metadata = with_mark({} if strip_metadata else within(source.container.metadata, self._cut), mark)
        self._last = 0

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
            self._picture = PictureTrack(self._picture_stream(), self.container, suffix != ".mkv")
            self._tracks = Tracks(self.container, suffix, self.source.notes, self._strip)
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

    def _picture_stream(self) -> PictureStream:
        source = self.source
        made = picture_stream(self.container, source, self.size, self.encoding, self._parts)
        if not self._strip:
            made.stream.metadata.update(of_track(_kept(source.stream.metadata), self._cut))
        made.stream.disposition = source.stream.disposition
        self._note_losses(made.chroma)
        return made

    def _note_losses(self, chroma: str) -> None:
        """What the picture itself loses."""
        source, picture = self.source, self.source.format
        bits, tags = self.encoding.bit_depth, {} if self._strip else source.stream.metadata
        for lost, words in (
            (picture.depth > bits, f"bit depth: {picture.depth} bits in the source, {bits} in the output"),
            (picture.depth > 8 and bits > 8, "precision beyond 8 bits: models work in 8 bits"),
            # VP8 and VP9 have it beside the picture, which decoders leave out
            (picture.alpha or source.stream.metadata.get("alpha_mode") == "1", "transparency"),
            (within(tags, self._cut) != tags, "time code, which is that of the clip's beginning"),
            (chroma < picture.chroma, f"colour resolution: {picture.chroma} in the source, {chroma} in the output"),
        ):
            if lost:
                source.notes.lack(words)

    def _add_tracks(self, suffix: str) -> None:
        """Add all other tracks of the source, and its chapters."""
        source = self.source
        origin = source.origin
        end = None if source.part.duration is None else origin + source.part.duration
        window = Window(origin, origin if source.part.start else None, end, suffix != ".mkv")
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
        self._last = self._picture.write(rgb, self._ticks(pts * self.source.time_base))
        self._tracks.copy_until(self._last * self._picture.stream.time_base)

    def _ticks(self, seconds: Fraction) -> int:
        """A time in units of the output's picture stream."""
        return round(seconds / self._picture.stream.time_base)

    def _finish(self) -> None:
        """Write what is still waiting."""
        source, last = self.source, self._last * self._picture.stream.time_base
        end = last + 1 / source.rate if source.end is None else source.end * source.time_base
        self._picture.finish(self._ticks(end))
        self._tracks.copy_until(None)

    @contextmanager
    def _completing(self, partial: Path) -> Generator[None]:
        """After the container is closed without an error: what it lacks."""
        yield
        if self._strip:
            return
        with suppress(OSError):
            copy_xmp(self.source.path, partial)
            tracks = [self._picture.stream.stream.metadata, *self._tracks.metadata]
            for words in lost_metadata(self.source.container, self.source.path, partial, tracks, self._chapters):
                self.source.notes.lack(words)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._stack:  # closes what is open even if the last frames cannot be written
                self._finish()
        else:
            self._stack.__exit__(kind, error, trace)


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    """A stream's metadata without what its old encoder said of itself."""
    own = ("encoder", "duration", "bps", "number_of", "_statistics", "rotate")
    return {key: value for key, value in metadata.items() if not key.lower().startswith(own)}


def _is_written_anew(stream: Stream, chapters: int) -> bool:
    """Whether the output gets such a track from the metadata: a time code, or the titles of chapters."""
    if stream.type == "data":
        timecode = "timecode" in stream.metadata and stream.frames <= 1  # Sony's own data begin with one too
        return timecode or (chapters > 0 and stream.discard == Discard.all)
    context: Any = stream.codec_context
    return stream.type == "subtitle" and context.codec_tag == "text" and stream.frames == chapters


OWN = Encoding(crf=20)
"""Of clips that gen renders."""


def write_clip(path: Path, frames: Iterable[Pixels], rate: int | Fraction, mark: str | None = None) -> None:
    """Write frames (H, W, 3), all of one size with even sides, as an H.264 clip of `rate` frames per second.

    `mark`: the container's comment. Atomic. Raises `BadInput` if `path` cannot be written.
    """
    with writing(path) as partial, av.open(url(partial), "w") as container:
        container.metadata.update(with_mark({}, mark))
        track: PictureTrack | None = None
        count, rate = 0, Fraction(rate)
        for rgb in frames:
            if track is None:
                stream = PictureStream(container, OWN, (rgb.shape[0], rgb.shape[1]), rate, 1 / rate)
                track = PictureTrack(stream, container, path.suffix.lower() != ".mkv")
            track.write(rgb, count)
            count += 1
        if track is not None:
            track.finish(count)
