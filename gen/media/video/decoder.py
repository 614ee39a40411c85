"""Decode a clip's picture track: every frame that can be decoded, in order, at times that rise."""

import heapq
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import Any

import av
from av.container import InputContainer
from av.format import Flags
from av.video.stream import VideoStream

from gen.errors import BadInput
from gen.media.video.clock import MAX_REORDERED, FrameClock, PacketClock
from gen.media.video.libav import is_last, read_packets, reason

REORDERED = 4
"""Frames that are sorted by time after a damaged packet, where decoders mix up the order of the frames around it."""

MAX_RATE = 1000
"""Frames per second; containers that declare more have no rate."""

UNSHOWN = ("vp8", "mpeg4", "vc1", "wmv3")
"""Codecs with packets that are not shown, so that missing frames cannot be counted by them."""

TICKS = 16
"""Least ticks of the time base in a frame, so that times can be moved by a part of one."""


def frame_rate(stream: VideoStream) -> Fraction:
    """Mean frames per second as the container says, or as it seems; 30 if nothing is known."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= MAX_RATE:
            return rate
    return Fraction(30)


def longest_gap(container: InputContainer) -> int:
    """Seconds without a packet that are believed. Clocks of broadcasts and of damaged streams jump (as in ffmpeg)."""
    return 10 if container.format.flags & Flags.ts_discont.value else 3600


class VideoDecoder:
    """Iterate once over the frames of a stream; each comes with its time in units of `time_base`."""

    def __init__(self, container: InputContainer, stream: VideoStream, too_large: str | None = None) -> None:
        """`too_large`: the error for frames that the codec's `max_pixels` forbids; None: it is not set."""
        self.stream, self._container, self._too_large = stream, container, too_large
        # Frame threads report an error late, and lose all frames that are under way at the end of a damaged clip.
        stream.thread_type = "SLICE"
        self.rate = frame_rate(stream)
        base = stream.time_base or 1 / self.rate
        finer = max(1, -(-TICKS // max(1, round(1 / self.rate / base))))
        self.time_base = base / finer
        self._finer = finer
        step = max(1, round(1 / self.rate / base))
        depth = stream.codec_context.reorder_depth
        longest = max(round(longest_gap(container) / base), MAX_REORDERED * step)
        self.clock = PacketClock(step, step * (2 + 4 * depth), longest)
        self.frame_clock = FrameClock(max(2, step * finer))
        # AVI has no display times. Those that libavformat makes up are in the wrong order.
        self._decode_times: deque[int] | None = deque() if container.format.name == "avi" else None
        self.packets = 0
        """Packets of pictures so far."""
        self.bytes = 0
        """Of the packets of all tracks so far."""
        self.end: int | None = None
        """When the last frame so far ends, damaged ones included."""
        self.others_end = Fraction(0)
        """When the other tracks end, in seconds, as far as they are read."""
        self.errors = 0
        self.reason = ""
        """What the decoder said of the last damaged packet."""
        self.corrupt = 0
        """Frames that the decoder completed from others."""
        self._unseen: set[int] = set()
        self.waits_for_key = False
        """Whether packets before the first key packet are left out: after a seek, frames that they need are missing."""

    def lost_between(self, start: int | None, end: int | None) -> int:
        """Frames that could not be decoded, between two times in units of `time_base`; None: no bound."""
        context = self.stream.codec_context
        undated = self._decode_times is not None and (start, end) != (None, None)
        if context.name in UNSHOWN or undated or (not self.errors and context.field_order > 1):
            return self.errors  # a packet may hold one field
        times = [pts * self._finer for pts in self._unseen]
        return sum((start is None or time >= start) and (end is None or time < end) for time in times)

    def __iter__(self) -> Iterator[tuple[av.VideoFrame, int]]:
        """All frames. What cannot be decoded is counted and left out. Raises `BadInput` for frames over the limit."""
        waiting: list[tuple[int, int, av.VideoFrame, int | None]] = []
        order, latest = count(), 0
        for frame, pts in self._decoded():
            latest = latest if pts is None else pts
            heapq.heappush(waiting, (latest, next(order), frame, pts))
            while len(waiting) > (REORDERED if self.errors and self._decode_times is None else 0):
                _, _, frame, pts = heapq.heappop(waiting)
                yield frame, self.frame_clock.next(pts)
        for _, _, frame, pts in sorted(waiting):
            yield frame, self.frame_clock.next(pts)

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Frames as the decoder gives them, with the times that the file gives them."""
        for packet in self._pictures():
            try:
                frames: list[av.VideoFrame] = self.stream.decode(packet)
            except av.FFmpegError as error:
                if isinstance(error, EOFError):  # it was at its end already
                    continue
                if self._too_large and not self.stream.codec_context.width:  # so decoders refuse a size
                    raise BadInput(self._too_large) from error
                self.errors, self.reason = self.errors + 1, reason(error)
                if self._decode_times and packet.size:
                    self._decode_times.pop()
                continue
            for frame in frames:
                self.corrupt += frame.is_corrupt
                self._unseen.discard(frame.pts if frame.pts is not None else -1)
                yield frame, self._time(frame)

    def skim(self) -> list[int] | None:
        """Read all packets without decoding them: when their frames are shown, in order.

        None if packets cannot say, because some have no time or are not shown, or if frames may be missing. What is
        known of the clip afterwards is what is known when all of it has been decoded without a fault.
        """
        times: list[int] = []
        plain = self._decode_times is None and self.stream.codec_context.name not in UNSHOWN
        for packet in self._pictures():
            if packet.size and (packet.pts is None or packet.is_discard or packet.is_corrupt):
                plain = False
            elif packet.size and packet.pts is not None:
                times.append(packet.pts * self._finer)
        self._unseen.clear()
        rising = [self.frame_clock.next(time) for time in sorted(times)]
        return rising if plain and rising == sorted(times) and not self.frame_clock.missing else None

    def _pictures(self) -> Iterator["av.Packet[Any]"]:
        """The packets to be decoded, in the order of the file; their times are fixed, and what they say is noted."""
        for packet in read_packets(self._container):
            self.bytes += packet.size
            if packet.stream.index != self.stream.index:
                if packet.pts is not None:
                    self.others_end = max(self.others_end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                continue
            if packet.size == 0 and not is_last(packet):  # AVI: the frame before is shown once more
                continue
            if self.waits_for_key and not packet.is_keyframe:  # where MPEG-TS and MPEG-PS may seek to
                continue
            self.waits_for_key = False
            self._note(packet)
            yield packet

    def _note(self, packet: "av.Packet[Any]") -> None:
        """What a packet says before it is decoded."""
        if packet.size == 0:
            return
        self.packets += 1
        self.clock.fix(packet)
        if self._decode_times is not None and packet.dts is not None:
            self._decode_times.append(packet.dts)
        time = packet.pts if packet.pts is not None and self._decode_times is None else packet.dts
        if time is None or packet.is_discard:
            return
        if packet.pts is not None:
            self._unseen.add(packet.pts)
        end = (time + (packet.duration or self.clock.step)) * self._finer
        self.end = end if self.end is None else max(self.end, end)

    def _time(self, frame: av.VideoFrame) -> int | None:
        if self._decode_times is not None:
            return self._decode_times.popleft() * self._finer if self._decode_times else None
        time = frame.pts if frame.pts is not None else frame.dts
        return None if time is None else time * self._finer
