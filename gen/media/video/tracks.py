"""The tracks of a clip besides the translated picture: sound, subtitles, data and further pictures are copied.

Each track has its own demuxer, because files hold them interleaved and the output needs them in step with its picture.
"""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import av
from av.audio.resampler import AudioResampler
from av.container import InputContainer, OutputContainer
from av.error import ArgumentError, InvalidDataError, PatchWelcomeError
from av.stream import Discard, Disposition, Stream

from gen.media.video.clock import PacketClock
from gen.media.video.decoder import longest_gap
from gen.media.video.libav import FORMATS, open_input, read_packets, reason
from gen.media.video.notes import Notes

Packet: TypeAlias = "av.Packet[Any]"

COPIED_SOUND = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"),
}
"""Audio codecs that players expect in these containers (ffmpeg would allow more); mkv takes any. Others become AAC."""

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
FALLBACK_RATE = 48000
"""Samples per second of sound whose rate AAC does not know."""
AAC_FRAME = 1024
"""Samples in a packet of AAC."""

REFUSALS = (InvalidDataError, ArgumentError, PatchWelcomeError, ValueError)
"""What a container answers to a packet or a track that it cannot hold. A full disk is none of these."""


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
        self.input: InputContainer = open_input(source)
        self.stream: Stream = self.input.streams[index]
        for other in self.input.streams:  # the demuxer need not read them
            other.discard = Discard.default if other.index == index else Discard.all
        self.window = window
        base = self.stream.time_base or Fraction(1, 1000)
        # Tenths of a second back are the jitter of interleaved or rounded packets. Subtitles may be far apart.
        longest = round(longest_gap(self.input) / base) if self.stream.type in ("audio", "video") else None
        self._clock = PacketClock(1, round(Fraction(1, 4) / base), longest, leader)
        self._last: int | None = None
        self._packets = self._in_window()
        self.next: Packet | None = next(self._packets, None)
        self.first = self.next

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
        if self.window.start is not None and self.stream.type in ("audio", "video"):  # subtitles may have begun before
            self.input.seek(max(0, int(self.window.start * av.time_base)))
        begun = self.window.start is None or self.stream.type != "video"
        for packet in read_packets(self.input, self.stream):
            if packet.size == 0 or (packet.is_discard and not self.window.hidden):
                continue
            self._clock.fix(packet)
            time, end = self._span(packet)
            begun = begun or (packet.is_keyframe and time >= self.window.origin)
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


class Copy:
    """Writes a track's packets as they are."""

    def __init__(self, track: Track, output: OutputContainer) -> None:
        self.track = track
        self.stream: Any = output.add_stream_from_template(track.stream, opaque=True)
        self.stream.metadata.update(track.stream.metadata)
        self.stream.disposition = track.stream.disposition

    def packets(self, packet: Packet) -> list[Packet]:
        """What is to be written for a packet of the source."""
        packet.stream = self.stream
        return [packet]

    def rest(self) -> list[Packet]:
        """What is to be written at the end."""
        return []


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


class Tracks:
    """All tracks that go with the picture into an output."""

    def __init__(self, output: OutputContainer, suffix: str, notes: Notes) -> None:
        """`suffix`: that of the output, ".mkv"."""
        self._output, self._suffix, self._notes = output, suffix, notes
        self._copied: list[Copy | Reencode] = []

    def add(self, track: Track) -> None:
        """Take a track along, as it is or, if it is sound, as AAC; else say that it is left out. Closes it then."""
        kept = None
        if track.first is not None:
            kept = self._copy(track) or (self._reencode(track) if track.stream.type == "audio" else None)
            if kept is None:
                self._notes.lack(f"{describe(track.stream)}: {self._suffix} cannot hold it")
        if kept is None:
            track.close()
        else:
            self._copied.append(kept)

    def _copy(self, track: Track) -> Copy | None:
        stream, expected = track.stream, COPIED_SOUND.get(self._suffix)
        if stream.type == "audio" and expected and codec_of(stream) not in expected:
            return None
        if track.first is None or not holds(self._suffix, stream, track.first):
            return None
        if stream.type == "video" and not stream.disposition & Disposition.attached_pic:
            self._notes.warn(f"{describe(stream)} is copied as it is, not translated.")
        return Copy(track, self._output)

    def _reencode(self, track: Track) -> Reencode | None:
        context: Any = track.stream.codec_context
        if context is None or not context.sample_rate or not context.layout.nb_channels:
            self._notes.warn(f"{describe(track.stream)} cannot be decoded; the output is without it.")
            return None
        kept = Reencode(track, self._output)
        if kept.rate != context.sample_rate:
            self._notes.warn(f"Sound of {context.sample_rate} Hz is resampled to {kept.rate} Hz, which AAC can hold.")
        return kept

    def copy_until(self, time: Fraction | None) -> None:
        """Write what is before `time` in seconds, in order of time; None: all that is left."""
        while True:
            waiting = [k for k in self._copied if k.track.next is not None]
            if not waiting:
                return
            first = min(waiting, key=lambda kept: kept.track.time)
            if time is not None and first.track.time > time:
                return
            self._write(first)

    def _write(self, kept: Copy | Reencode) -> None:
        packet = kept.track.next
        assert packet is not None
        kept.track.advance()
        self._mux(kept, lambda: kept.packets(packet))
        if kept.track.next is None:
            self._mux(kept, kept.rest)
            if isinstance(kept, Reencode) and kept.damaged:
                self._notes.warn(f"{kept.damaged} packets of {describe(kept.track.stream)} could not be decoded.")

    def _mux(self, kept: Copy | Reencode, packets: Callable[[], list[Packet]]) -> None:
        for packet in packets():
            try:
                self._output.mux(packet)
            except REFUSALS as error:
                words = f"packets of {describe(kept.track.stream)}, which the container refuses ({reason(error)})"
                self._notes.lack(words)

    def close(self) -> None:
        """Close the sources."""
        for kept in self._copied:
            kept.track.close()


def holds(suffix: str, stream: Stream, packet: Packet) -> bool:
    """Whether a container can hold a track: tried with its first packet, because tables of codecs are incomplete."""
    copied = av.Packet(bytes(packet))
    copied.pts = copied.dts = 0
    copied.time_base, copied.is_keyframe = packet.time_base, packet.is_keyframe
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
            copied.stream = trial.add_stream_from_template(stream, opaque=True)
            trial.mux(copied)
    except (*REFUSALS, av.FFmpegError):
        return False
    return True


def codec_of(stream: Stream) -> str:
    """The name of a stream's codec."""
    context: Any = stream.codec_context
    if context is not None:
        return context.codec.canonical_name
    return getattr(stream, "name", None) or "unknown codec"


def describe(stream: Stream) -> str:
    """A track in words: kind, number, codec, language."""
    kind = {"audio": "sound", "video": "picture"}.get(stream.type, stream.type)
    language = stream.language if stream.language not in (None, "und") else None
    about = ", ".join(filter(None, (codec_of(stream), language)))
    return f"{kind} track {stream.index} ({about})"
