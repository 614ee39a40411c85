"""Sound that the output's container cannot hold becomes AAC."""

from collections.abc import Callable
from typing import Any

import av
from av.audio.resampler import AudioResampler
from av.container import OutputContainer

from gen.media.video.track import Packet, Track

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
FALLBACK_RATE = 48000
"""Samples per second of sound whose rate AAC does not know."""
LOWEST_RATE = 1000
"""Samples per second; fewer are damage, and would become hours of sound."""
AAC_FRAME = 1024
"""Samples in a packet of AAC."""
LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""Of 1 to 8 channels of which a file gives the number alone; ffmpeg guesses the same."""


class Reencode:
    """Writes a sound track as AAC. Gaps in its times become silence, because AAC has none."""

    def __init__(self, track: Track, output: OutputContainer, metadata: dict[str, str]) -> None:
        self.track = track
        source: Any = track.stream.codec_context
        self.rate = source.sample_rate if source.sample_rate in AAC_RATES else FALLBACK_RATE
        self.stream: Any = output.add_stream("aac", rate=self.rate)
        self._layout = self._layout_of(source.layout)
        self.stream.layout, self.stream.format = self._layout, "fltp"
        self.stream.metadata.update({k: v for k, v in metadata.items() if k.lower() != "encoder"})
        self.stream.disposition = track.stream.disposition
        self._resampler = self._new_resampler()
        self.damaged = self.written = 0
        """Packets that could not be decoded, and packets that were made."""

    def _layout_of(self, layout: Any) -> str:
        """The name of the output's layout. Many containers give a number of channels without a layout: "6 channels"."""
        count = layout.nb_channels
        self.mixed = count if count > len(LAYOUTS) else 0
        """Channels that become two, because AAC cannot hold so many."""
        named = 2 < count <= len(LAYOUTS) and not layout.name.endswith("channels")
        return "stereo" if self.mixed else layout.name if named else LAYOUTS[count - 1]

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler("fltp", self._layout, self.rate, AAC_FRAME, {"async": "1"})

    def packets(self, packet: Packet) -> list[Packet]:
        """What is to be written for a packet of the source."""

        def make() -> list[Packet]:
            frames: Any = packet.decode()
            return [out for frame in frames for out in self._encoded(frame)]

        return self._counted(make)

    def _counted(self, make: Callable[[], list[Packet]]) -> list[Packet]:
        try:
            made = make()
        except (av.FFmpegError, ValueError):  # whatever is wrong with the sound, the clip goes on
            self.damaged += 1
            return []
        self.written += len(made)
        return made

    def _encoded(self, frame: Any) -> list[Packet]:
        """`frame`: None at the end."""
        try:
            parts = self._resampler.resample(frame)
        except ValueError:  # the sound's format changed
            parts = self._resampler.resample(None)
            self._resampler = self._new_resampler()
            parts = parts + self._resampler.resample(frame)
        return [packet for part in parts for packet in self.stream.encode(part)]

    def rest(self) -> list[Packet]:
        """What is to be written at the end."""
        return self._counted(lambda: self._encoded(None) + self.stream.encode(None))
