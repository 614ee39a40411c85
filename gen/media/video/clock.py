"""Times of packets and frames that only go forward, whatever a camera's clock did."""

from fractions import Fraction
from typing import Any

import av

MAX_REORDERING = 10
"""Seconds between the decode time and the display time of a packet, beyond which one of them is wrong. A frame that is
shown after a longer gap may also be decoded that much earlier."""

MAX_REORDERED = 16
"""Frames between decoding and display in any codec."""

GAP = 3.5
"""Frames; a longer time without a new one is a gap."""
STEADY = 0.8
"""Share of frames at their place, above which the others count as missing."""


class PacketClock:
    """Continues the time of a track where its clock jumps: by one packet after the last one.

    Cameras set their clock while they record, recorders join parts that each start at zero, and damage makes any time.
    Packets are fixed in the order of the file, before they are decoded, because decoders reorder frames.
    """

    def __init__(self, step: int, tolerance: int, longest: int | None, leader: "PacketClock | None" = None) -> None:
        """In ticks. `step`: of a packet that declares no duration; `tolerance`: fewer ticks back are jitter, no jump.

        `longest`: gap that is believed; None: any. `leader`: the picture's clock. A track moves as far as the picture
        at the same jump, to stay with it.
        """
        self.step, self.tolerance, self.longest, self.leader = step, tolerance, longest, leader
        self.jumps: list[Fraction] = []
        """After each jump: seconds added to the times of the packets that follow."""
        self._offset = self._undated = 0
        self._last: int | None = None
        self._decoded = self._shown = 0
        """When the last packet so far ends, by decode and by display times."""

    def fix(self, packet: "av.Packet[Any]") -> None:
        """Change the packet's times in place."""
        pts, dts = packet.pts, packet.dts
        if pts is not None and dts is not None:
            most = MAX_REORDERING / packet.time_base
            if dts - pts > most or pts - dts > max(most, self.longest or 0):
                packet.pts = None  # one of them is damaged
        self._undated = 0 if dts is not None else self._undated + 1
        raw = dts if dts is not None else pts
        if raw is None:
            return
        if self._undated and self._undated <= MAX_REORDERED:  # Matroska: display times alone go back and forth
            packet.pts = raw + self._offset
            return
        if self._jumps(raw + self._offset):
            self._offset = self._moved(packet, raw)
            self.jumps.append(self._offset * packet.time_base)
        if self._offset:
            packet.pts = None if packet.pts is None else packet.pts + self._offset
            packet.dts = None if packet.dts is None else packet.dts + self._offset
        self._last = raw + self._offset
        length = packet.duration or self.step
        self._decoded = max(self._decoded, self._last + length)
        self._shown = max(self._shown, (packet.pts if packet.pts is not None else self._last) + length)

    def _jumps(self, time: int) -> bool:
        if self._last is None:
            return False
        return time < self._last - self.tolerance or (self.longest is not None and time > self._last + self.longest)

    def _moved(self, packet: "av.Packet[Any]", raw: int) -> int:
        """The new offset, for the first packet after a jump."""
        index = len(self.jumps)
        if self.leader is not None and index < len(self.leader.jumps):
            offset = round(self.leader.jumps[index] / packet.time_base)
            if self._last is not None and not self._jumps(raw + offset):
                return offset
        # Decode times are guessed where a container has none, and wrong after a jump. Nothing before a key packet is
        # shown after it.
        if packet.is_keyframe and packet.pts is not None:
            return self._shown - packet.pts
        return self._decoded - raw


class FrameClock:
    """Display times that always rise, for frames in order of display. Times that do so already are kept."""

    def __init__(self, step: int) -> None:
        """`step`: ticks of one frame, at least 2."""
        self.step = step
        self._raw: int | None = None
        self._last: int | None = None
        self._repeated = False
        self._steps = self._steady = self._missing = 0

    @property
    def missing(self) -> int:
        """Ticks in which a clip shows no new frame for longer than `GAP`, beyond one frame each time."""
        return self._missing

    @property
    def gaps(self) -> int:
        """Ticks in which a clip of steady rate shows no new frame, because some are missing; 0 if its rate varies."""
        return self._missing if self._steady >= STEADY * self._steps else 0

    def next(self, pts: int | None) -> int:
        """The time of the next frame, which the file shows at `pts`; None: it does not say."""
        if self._last is None:
            time = pts or 0
        elif pts is None:
            time = self._last + self.step
        elif pts > self._last:
            time = pts
        else:
            # Half a frame for a frame that is late, so that the others catch up; a clock that stands still goes on.
            still = pts == self._raw and self._repeated
            time = self._last + (self.step if still else self.step // 2)
        if self._last is not None:
            self._count(time - self._last)
        self._repeated = pts is not None and pts == self._raw
        self._raw, self._last = pts, time
        return time

    def _count(self, ticks: int) -> None:
        """Note the time between two frames."""
        self._steps += 1
        self._steady += ticks < 1.5 * self.step
        self._missing += ticks - self.step if ticks > GAP * self.step else 0
