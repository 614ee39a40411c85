"""A clip whose picture is encoded in parts, by several processes, and joined from their packets."""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
from av.container import OutputContainer

from gen.media.files import writing
from gen.media.video.colour import Pixels
from gen.media.video.encoders import FINEST, Encoding, PictureStream
from gen.media.video.libav import FORMATS
from gen.media.video.reader import ClipReader


class CannotJoin(Exception):
    """Joined parts would not be what a single process makes of the whole clip; the text says why."""


class Coded(NamedTuple):
    """An encoded packet, in units of its stream's `time_base`."""

    pts: int
    dts: int
    size: int
    """Bytes."""
    key: bool


class EncodedPart(NamedTuple):
    """The encoded picture of a part of a clip."""

    path: Path
    """The packets, one behind the other, in the order in which they are decoded."""
    size: tuple[int, int]
    """(H, W)."""
    header: bytes
    """See `PictureStream.open`."""
    packets: list[Coded]


def picture_stream(
    container: OutputContainer,
    source: ClipReader,
    size: tuple[int, int],
    encoding: Encoding,
    parts: Sequence[EncodedPart] = (),
) -> PictureStream:
    """The picture stream of a clip like `source`. It takes frames (H, W) or, if there are some, `parts` of them."""
    picture = source.format
    made = (JoinedStream if parts else PictureStream)(
        container,
        encoding,
        size,
        source.rate,
        source.time_base,
        picture.chroma,
        picture.output_colour,
        picture.field_order,
    )
    made.stream.codec_context.sample_aspect_ratio = source.pixel_shape
    if isinstance(made, JoinedStream):
        made.join(parts)
    return made


def header_of(source: ClipReader, suffix: str, encoding: Encoding) -> bytes:
    """`PictureStream.open` for a translation of the clip in such a container."""
    with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as container:
        return picture_stream(container, source, (source.height, source.width), encoding).open()


def ticks(pts: int, source: ClipReader) -> int:
    """A time of a frame of `source` in the units of its outputs' packets."""
    return round(pts * source.time_base / max(source.time_base, FINEST))


class PartWriter:
    """Encodes frames as `ClipWriter` would, but writes their packets alone: `part`, when the block has ended.

    A context manager: the file appears at the end of the block, and an exception leaves no file.
    """

    def __init__(self, path: Path, suffix: str, source: ClipReader, size: tuple[int, int], encoding: Encoding) -> None:
        """`suffix`: that of the clip that is joined; `size`: (H, W) of the frames."""
        self.path, self.suffix, self.source, self.size, self.encoding = path, suffix, source, size, encoding
        self._packets: list[Coded] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closes what was opened if a later line fails
            partial = stack.enter_context(writing(self.path))
            self._file = stack.enter_context(partial.open("wb"))
            # Encoders ask a container what it needs. Nothing but a header is written into this one.
            container = stack.enter_context(av.open(io.BytesIO(), "w", format=FORMATS[self.suffix]))
            self._stream = picture_stream(container, self.source, self.size, self.encoding)
            self.header = self._stream.open()
            self._stack = stack.pop_all()
        return self

    @property
    def part(self) -> EncodedPart:
        """What is written."""
        return EncodedPart(self.path, self.size, self.header, self._packets)

    def write(self, rgb: Pixels, pts: int) -> None:
        """Append a frame (H, W, 3), shown at `pts` in the source's time base."""
        self._append(self._stream.encode(rgb, ticks(pts, self.source)))

    def _append(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            assert packet.time_base == self._stream.time_base
            self._file.write(bytes(packet))
            self._packets.append(Coded(packet.pts, packet.dts, packet.size, packet.is_keyframe))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._stack:  # closes what is open even if the last frames cannot be written
                self._append(self._stream.rest())
        else:
            self._stack.__exit__(kind, error, trace)


class JoinedStream(PictureStream):
    """Takes frames like any other stream, but gives the packets of parts in which they are encoded already.

    Each part begins with a key frame and needs no frame of another. Hints of the encoder which frames no other needs
    are lost: PyAV cannot set them, and decoders do not depend on them.
    """

    def join(self, parts: Sequence[EncodedPart]) -> None:
        """`parts`: of the whole clip, in order."""
        self._parts, self._coded, self._data = parts, with_decode_times(parts), _data(parts)
        self._opened = False

    def encode(self, rgb: Pixels, pts: int) -> list[Any]:
        """The packets up to that of the frame at `pts`; the pixels are not looked at. Raises `CannotJoin`."""
        if not self._opened:
            self._opened = True
            header = self.open()
            if any(part.header != header for part in self._parts):
                raise CannotJoin("encoders of different versions or settings made its parts")
        ready: list[Any] = []
        while len(self._coded) > 1 and self._coded[0].pts <= pts:  # `PictureTrack` wants the last one at the end
            ready.append(self._next())
        return ready

    def rest(self) -> list[Any]:
        """The packets that are left."""
        return [self._next() for _ in range(len(self._coded))]

    def _next(self) -> Any:
        coded, data = self._coded.popleft(), next(self._data)
        if len(data) != coded.size:
            raise CannotJoin("the file of a part is not whole")
        packet: Any = av.Packet(data)
        packet.pts, packet.dts, packet.time_base = coded.pts, coded.dts, self.time_base
        packet.is_keyframe, packet.stream = coded.key, self.stream
        return packet


def _data(parts: Sequence[EncodedPart]) -> Iterator[bytes]:
    """The packets of the parts."""
    for part in parts:
        with part.path.open("rb") as file:
            for coded in part.packets:
                yield file.read(coded.size)


def with_decode_times(parts: Sequence[EncodedPart]) -> deque[Coded]:
    """The packets of all parts, at the decode times that one encoder would have given them.

    An encoder that reorders up to n frames decodes a frame when the one n places before is shown. For the first n it
    makes times up; those of the first part stay. Raises `CannotJoin` if a frame would be decoded after it is shown.
    """
    shown = sorted(coded.pts for part in parts for coded in part.packets)
    late = sum(coded.dts < shown[0] for coded in parts[0].packets)
    everything = (coded for part in parts for coded in part.packets)
    timed = deque(
        coded if number < late else coded._replace(dts=shown[number - late]) for number, coded in enumerate(everything)
    )
    if any(coded.dts > coded.pts for coded in timed):
        raise CannotJoin("its encoder reorders frames in an unusual way")
    return timed
