"""Times of packets and frames that only go forward, whatever a camera's clock did."""

from fractions import Fraction
from typing import Any

import av


class PacketClock:
    """Continues the time of a track where its clock steps back: by one packet after the last one.

    Cameras set their clock while they record, and recorders join parts that each start at zero. Packets are fixed in
    the order of the file, before they are decoded, because decoders reorder frames.
    """

    def __init__(self, step: int, tolerance: int, leader: "PacketClock | None" = None) -> None:
        """`step`: ticks of a packet that declares no duration; `tolerance`: fewer ticks back are jitter, not a step.

        `leader`: the picture's clock. A track moves as far as the picture at the same step, to stay with it.
        """
        self.step, self.tolerance, self.leader = step, tolerance, leader
        self.steps: list[Fraction] = []
        """After each step back: seconds added to the times of the packets that follow."""
        self._offset = 0
        self._last: int | None = None
        self._end = 0

    def fix(self, packet: "av.Packet[Any]") -> None:
        """Change the packet's times in place."""
        raw = packet.dts if packet.dts is not None else packet.pts
        if raw is None:
            return
        if self._last is not None and raw + self._offset < self._last - self.tolerance:
            self._offset = self._moved(raw, packet.time_base)
            self.steps.append(self._offset * packet.time_base)
        self._last = raw + self._offset
        self._end = max(self._end, self._last + (packet.duration or self.step))
        if self._offset:
            packet.pts = None if packet.pts is None else packet.pts + self._offset
            packet.dts = None if packet.dts is None else packet.dts + self._offset

    def _moved(self, raw: int, time_base: Fraction) -> int:
        """The new offset for a packet at `raw`, the first one after a step back."""
        index = len(self.steps)
        if self.leader is not None and index < len(self.leader.steps):
            offset = round(self.leader.steps[index] / time_base)
            if self._last is not None and raw + offset >= self._last:
                return offset
        return self._end - raw


class FrameClock:
    """Display times that always rise, for frames in order of display. Times that do so already are kept."""

    def __init__(self, step: int) -> None:
        """`step`: ticks of one frame, at least 2."""
        self.step = step
        self._raw: int | None = None
        self._last: int | None = None
        self._repeated = False

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
        self._repeated = pts is not None and pts == self._raw
        self._raw, self._last = pts, time
        return time
