"""Small helpers around PyAV."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.error import ArgumentError, InvalidDataError, PatchWelcomeError
from av.filter import Graph
from av.stream import Stream

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Containers that are written, with ffmpeg's names."""

REFUSALS = (InvalidDataError, ArgumentError, PatchWelcomeError, ValueError)
"""What a container answers to a packet or a track that it cannot hold. A full disk is none of these."""

DEMUXERS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,asf,flv,ogg,mxf,dv,nut"
"""Containers that are read, whatever their file is called. Others, such as playlists, would open further files."""

MAX_READ_ERRORS = 100
"""Places of a file in a row that cannot be read before the rest counts as missing."""


def url(path: Path) -> str:
    """A URL for ffmpeg, which would read 12:30.mp4 as protocol "12"."""
    return f"file:{path}"


def open_input(path: Path, options: dict[str, str] | None = None) -> InputContainer:
    """Open a clip for reading. Metadata that is not UTF-8 is kept as far as it can be read."""
    safe = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    return av.open(url(path), metadata_errors="replace", options=options, container_options=safe)


def reason(error: Exception) -> str:
    """What ffmpeg says of an error, without the file name."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def seek(container: InputContainer, time: Fraction) -> bool:
    """Go to the last key packet before a time, in seconds of the container's clock.

    False if there is none and the format refuses (FLV, before the first packet of its track), and for MPEG-PS, where a
    place within a packet of sound, or of a picture without a time, would be found; packets are lost then.
    """
    if container.format.name == "mpeg":
        return False
    try:
        container.seek(int(time * av.time_base))
    except av.FFmpegError:
        return False
    return True


def read_packets(container: InputContainer, *streams: Stream) -> Iterator["av.Packet[Any]"]:
    """The packets of these streams in the order of the file; the last one of each stream is empty.

    Places that cannot be read are skipped, because what follows may be whole.
    """
    failed = 0
    while True:
        try:
            for packet in container.demux(*streams):
                failed = 0
                yield packet
            return
        except IndexError:  # PyAV, at the end of a file in which a track appeared later
            yield from _last(container, streams)
            return
        except av.FFmpegError:
            failed += 1
            if failed >= MAX_READ_ERRORS:
                yield from _last(container, streams)
                return


def _last(container: InputContainer, streams: tuple[Stream, ...]) -> Iterator["av.Packet[Any]"]:
    for stream in streams or tuple(container.streams):
        packet: av.Packet[Any] = av.Packet()
        packet.stream = stream
        yield packet


def is_last(packet: "av.Packet[Any]") -> bool:
    """Whether it is the empty packet after a stream's last one, which flushes a decoder."""
    return packet.size == 0 and packet.dts is None and packet.pts is None


def filter_graph(frame: av.VideoFrame, *filters: tuple[str, str]) -> Graph:
    """A chain of libavfilter's filters, (name, arguments) each, for frames like this one."""
    graph = Graph()
    size = f"video_size={frame.width}x{frame.height}"
    base = frame.time_base or "1/1000"
    last = graph.add("buffer", f"{size}:pix_fmt={frame.format.name}:time_base={base}")
    for name, arguments in filters:
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    return graph
