"""One track of a clip, read beside its picture.

Each track has its own demuxer, because files hold them interleaved and the output needs them in step with its picture.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import av
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream

from gen.media.video.clock import PacketClock
from gen.media.video.decoder import longest_gap
from gen.media.video.libav import open_input, read_packets, seek

Packet: TypeAlias = "av.Packet[Any]"


class Window(NamedTuple):
    """The part of the source's time that is copied, in seconds of the source's clock."""

    origin: Fraction
    """Becomes zero."""
    start: Fraction | None
    """None: from the first packet, even if it is before the origin, as sound that only fills a decoder is."""
    end: Fraction | None
    hidden: bool = True
    """Whether packets are copied that are decoded and not heard, as mp4 has them before sound. Matroska would not hide
    them."""


class Track:
    """One track of the source, packet by packet: `next` until `advance`."""

    def __init__(self, source: Path, index: int, window: Window, leader: PacketClock) -> None:
        self.window = window
        self._open(source, index)
        # Subtitles may have begun before.
        if window.start is not None and self.stream.type in ("audio", "video") and not seek(self.input, window.start):
            self.input.close()
            self._open(source, index)
        base = self.stream.time_base or Fraction(1, 1000)
        # Tenths of a second back are the jitter of interleaved or rounded packets. Subtitles may be far apart.
        longest = round(longest_gap(self.input) / base) if self.stream.type in ("audio", "video") else None
        self._clock = PacketClock(1, round(Fraction(1, 4) / base), longest, leader)
        self._last: int | None = None
        self.waited = False
        """Whether frames of the window are left out, because a copy can begin at a key frame alone."""
        self._packets = self._in_window()
        self.next: Packet | None = next(self._packets, None)
        self.first = self.next

    def _open(self, source: Path, index: int) -> None:
        self.input: InputContainer = open_input(source)
        self.stream: Stream = self.input.streams[index]
        for other in self.input.streams:  # the demuxer need not read them
            other.discard = Discard.default if other.index == index else Discard.all

    @property
    def time(self) -> Fraction:
        """When the next packet is to be written, in seconds."""
        packet = self.next
        if packet is None or (packet.dts is None and packet.pts is None):
            return Fraction(0)
        return (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base

    def advance(self) -> None:
        """Go to the next packet."""
        self.next = next(self._packets, None)

    def _in_window(self) -> Iterator[Packet]:
        """Packets of the window, with times that count from its origin and do not fall."""
        cover = bool(self.stream.disposition & Disposition.attached_pic)
        begun = self.window.start is None or self.stream.type != "video"
        for packet in read_packets(self.input, self.stream):
            if packet.size == 0 or (packet.is_discard and not self.window.hidden):
                continue
            if cover:  # of the whole clip, so that no part is without it
                packet.pts = packet.dts = 0
                yield packet
                continue
            self._clock.fix(packet)
            time, end = self._span(packet)
            begun = begun or (packet.is_keyframe and time >= self.window.origin)
            inside = time >= self.window.origin and (self.window.end is None or time < self.window.end)
            self.waited = self.waited or (inside and not begun)
            if not begun or (self.window.start is not None and end <= self.window.start and time < self.window.start):
                continue
            if self.window.end is not None and time >= self.window.end:
                return
            self._shift(packet)
            yield packet

    def _span(self, packet: Packet) -> tuple[Fraction, Fraction]:
        """When a packet is shown, and to when."""
        at = packet.pts if packet.pts is not None else packet.dts
        time = (at or 0) * packet.time_base
        return time, time + (packet.duration or 0) * packet.time_base

    def _shift(self, packet: Packet) -> None:
        """Count the packet's times from the origin. Decode times that do not rise are moved: containers refuse them."""
        origin = round(self.window.origin / packet.time_base)
        dts = packet.dts if packet.dts is not None else packet.pts
        dts = self._last if dts is None else dts - origin
        if dts is not None and self._last is not None:
            dts = max(dts, self._last + (self.stream.type in ("audio", "video")))
        pts = dts if packet.pts is None else packet.pts - origin
        packet.pts = pts if pts is None or dts is None else max(pts, dts)
        packet.dts, self._last = dts, dts
        if self.stream.type == "subtitle":
            self._cut(packet)

    def _cut(self, packet: Packet) -> None:
        """Show a subtitle within the window alone."""
        start, end = packet.pts or 0, (packet.pts or 0) + (packet.duration or 0)
        if self.window.start is not None:
            start = max(start, 0)
        if self.window.end is not None:
            end = min(end, round((self.window.end - self.window.origin) / packet.time_base))
        if end > start:
            packet.pts = packet.dts = start
            packet.duration = end - start

    def close(self) -> None:
        """Close the source."""
        self.input.close()
