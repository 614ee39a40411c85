"""Sound that the output's container cannot hold becomes AAC."""

from typing import Any

from av.audio.resampler import AudioResampler
from av.container import OutputContainer

from gen.media.video.libav import REFUSALS
from gen.media.video.track import Packet, Track

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
FALLBACK_RATE = 48000
"""Samples per second of sound whose rate AAC does not know."""
AAC_FRAME = 1024
"""Samples in a packet of AAC."""


class Reencode:
    """Writes a sound track as AAC. Gaps in its times become silence, because AAC has none."""

    def __init__(self, track: Track, output: OutputContainer) -> None:
        self.track = track
        source: Any = track.stream.codec_context
        self.rate = source.sample_rate if source.sample_rate in AAC_RATES else FALLBACK_RATE
        self.stream: Any = output.add_stream("aac", rate=self.rate)
        # Old containers give a channel count without a layout, but the encoder needs a layout.
        count = source.layout.nb_channels
        self._layout = {1: "mono", 2: "stereo"}.get(count, source.layout.name if count <= 8 else "stereo")
        self.stream.layout, self.stream.format = self._layout, "fltp"
        self.stream.metadata.update({k: v for k, v in track.stream.metadata.items() if k.lower() != "encoder"})
        self.stream.disposition = track.stream.disposition
        self._resampler = self._new_resampler()
        self.damaged = 0
        """Packets that could not be decoded."""

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler("fltp", self._layout, self.rate, AAC_FRAME, {"async": "1"})

    def packets(self, packet: Packet) -> list[Packet]:
        """What is to be written for a packet of the source."""
        try:
            frames: Any = packet.decode()
            return [out for frame in frames for out in self._encoded(frame)]
        except REFUSALS:
            self.damaged += 1
            return []

    def _encoded(self, frame: Any) -> list[Packet]:
        try:
            parts = self._resampler.resample(frame)
        except ValueError:  # the sound's format changed
            parts = self._resampler.resample(None)
            self._resampler = self._new_resampler()
            parts = parts + self._resampler.resample(frame)
        return [packet for part in parts for packet in self.stream.encode(part)]

    def rest(self) -> list[Packet]:
        """What is to be written at the end."""
        parts = self._resampler.resample(None)
        return [packet for part in parts for packet in self.stream.encode(part)] + self.stream.encode(None)
