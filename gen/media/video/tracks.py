"""The tracks that go with the picture into an output: sound, subtitles, data and further pictures."""

import io
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Disposition, Stream

from gen.media.video.libav import FORMATS, REFUSALS, reason
from gen.media.video.metadata import of_track
from gen.media.video.notes import Notes
from gen.media.video.sound import LOWEST_RATE, Reencode
from gen.media.video.track import Packet, Track

COPIED_SOUND = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"),
}
"""Audio codecs that players expect in these containers (ffmpeg would allow more); mkv takes any. Others become AAC."""


class Copy:
    """Writes a track's packets as they are."""

    def __init__(self, track: Track, output: OutputContainer, metadata: dict[str, str]) -> None:
        self.track = track
        self.stream: Any = output.add_stream_from_template(track.stream, opaque=True)
        self.stream.metadata.update(metadata)
        self.stream.disposition = track.stream.disposition

    def packets(self, packet: Packet) -> list[Packet]:
        """What is to be written for a packet of the source."""
        packet.stream = self.stream
        return [packet]

    def rest(self) -> list[Packet]:
        """What is to be written at the end."""
        return []


class Tracks:
    """All tracks that go with the picture into an output."""

    def __init__(self, output: OutputContainer, suffix: str, notes: Notes, strip: bool = False) -> None:
        """`suffix`: that of the output, ".mkv"; `strip`: whether the tracks lose their metadata but the language."""
        self._output, self._suffix, self._notes, self._strip = output, suffix, notes, strip
        self._copied: list[Copy | Reencode] = []

    def add(self, track: Track) -> None:
        """Take a track along, as it is or, if it is sound, as AAC; else say that it is left out. Closes it then."""
        kept = None
        if track.first is not None:
            kept = self._copy(track) or (self._reencode(track) if track.stream.type == "audio" else None)
            if kept is None:
                self._notes.lack(f"{describe(track.stream)}: {self._suffix} cannot hold it")
        elif track.waited:
            self._notes.lack(f"{describe(track.stream)}: no key frame of it lies in this part")
        elif track.window.start is None and track.window.end is None:
            self._notes.lack(f"{describe(track.stream)}: no packet of it can be read")
        if kept is None:
            track.close()
        else:
            self._copied.append(kept)
            if track.waited and track.first is not None:
                late = float((track.first.pts or 0) * track.first.time_base)
                self._notes.lack(f"the first {late:.2f} s of {describe(track.stream)}, before a key frame")

    def _copy(self, track: Track) -> Copy | None:
        stream, expected = track.stream, COPIED_SOUND.get(self._suffix)
        if stream.type == "audio" and expected and codec_of(stream) not in expected:
            return None
        if track.first is None or not holds(self._suffix, stream, track.first):
            return None
        if stream.type == "video" and not stream.disposition & Disposition.attached_pic:
            self._notes.warn(f"{describe(stream)} is copied as it is, not translated.")
        return Copy(track, self._output, self._metadata(track))

    def _reencode(self, track: Track) -> Reencode | None:
        context: Any = track.stream.codec_context
        if context is not None and not context.sample_rate and track.first is not None:
            with suppress(av.FFmpegError):  # sound that begins late: its packets tell what it is
                track.first.decode()
        if context is None or context.sample_rate < LOWEST_RATE or not context.layout.nb_channels:
            self._notes.warn(f"{describe(track.stream)} cannot be decoded; the output is without it.")
            return None
        kept = Reencode(track, self._output, self._metadata(track))
        if kept.rate != context.sample_rate:
            self._notes.warn(f"Sound of {context.sample_rate} Hz is resampled to {kept.rate} Hz, which AAC can hold.")
        if kept.mixed:
            self._notes.warn(f"Sound of {kept.mixed} channels is mixed to stereo, because AAC cannot hold so many.")
        return kept

    def _metadata(self, track: Track) -> dict[str, str]:
        """Title, language and the like of a track."""
        metadata = of_track(track.stream.metadata, track.window.start is not None)
        return {key: text for key, text in metadata.items() if not self._strip or key.lower() == "language"}

    @property
    def metadata(self) -> list[dict[str, str]]:
        """What each of the tracks should have."""
        return [dict(kept.stream.metadata) for kept in self._copied]

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
            if isinstance(kept, Reencode) and not kept.written:
                self._notes.lack(f"{describe(kept.track.stream)}: it cannot be decoded")
            elif isinstance(kept, Reencode) and kept.damaged:
                packets = f"{kept.damaged} packet{'s' * (kept.damaged > 1)}"
                self._notes.warn(f"{packets} of {describe(kept.track.stream)} could not be decoded.")

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
