"""Write frames with the times for which they are shown, which containers need and encoders do not pass on."""

from collections.abc import Iterable, Sequence
from typing import Any

from av.container import OutputContainer

from gen.media.video.colour import Pixels
from gen.media.video.encoders import PictureStream


class PictureTrack:
    """Encodes frames into a container. Times are in units of the stream's `time_base`."""

    def __init__(self, stream: PictureStream, container: OutputContainer, sums: bool) -> None:
        """`sums`: whether the container makes a track as long as the sum of its packets' durations, as mp4 does."""
        self.stream, self._container, self._sums = stream, container, sums
        self._waiting: tuple[Pixels, int] | None = None
        self._durations: dict[int, int] = {}
        self._first: Any = None
        """Display and decode time of the first packet."""

    def write(self, rgb: Pixels, pts: int) -> int:
        """Append a frame (H, W, 3). Returns its time, which is later than `pts` if that does not rise."""
        if self._waiting is not None:  # only now is it known how long the frame before is shown
            pts = max(pts, self._waiting[1] + 1)  # encoders refuse times that do not rise
            self._encode(pts)
        self._waiting = rgb, pts
        return pts

    def finish(self, end: int) -> None:
        """Write what is waiting. The last frame is shown until `end`."""
        if self._waiting is not None:
            end = max(end, self._waiting[1] + 1)
            self._encode(end)
        packets = self.stream.rest()
        if self._first is None:
            set_decode_times(packets)
        self._mux(packets[:-1])
        for last in packets[-1:]:
            if self._sums and self._first is not None:  # durations of decoding: those of the others are differences
                whole, before = end - self._first[0], last.dts - self._first[1]
                self._durations[last.pts] = max(self._durations.get(last.pts, 1), whole - before)
            self._mux([last])

    def _encode(self, end: int) -> None:
        """Encode the waiting frame, which is shown until `end`."""
        assert self._waiting is not None
        rgb, pts = self._waiting
        self._durations[pts] = end - pts
        self._mux(self.stream.encode(rgb, pts))

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._first = self._first or (packet.pts, packet.dts)
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)


def set_decode_times(packets: Sequence[Any]) -> None:
    """Set the decode times of all packets of a clip. x265 invents some where it has fewer frames than it reorders."""
    shown = sorted(packet.pts for packet in packets)
    late = max((time - packet.pts for time, packet in zip(shown, packets, strict=True)), default=0)
    for time, packet in zip(shown, packets, strict=True):
        packet.dts = time - late
