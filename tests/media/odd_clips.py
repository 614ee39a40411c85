"""Odd clips as cameras and editors write them, and what ffmpeg shows of a clip, for comparison."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation

BASE = Fraction(1, 1000)
EXACT = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.FULL_CHR_H_INT
)
"""libswscale within half a level of the equations of BT.601 and others; its defaults are up to 2.3 levels too dark."""


def waves(index: int, height: int, width: int) -> np.ndarray:
    """A smooth coloured picture that moves, compressed with little loss. It has a way up."""
    y, x = np.mgrid[:height, :width]
    red = np.sin((x + 2 * index) / 19) * 80 + 128
    green = np.cos((y - index) / 17) * 80 + 128
    return np.stack([red, green, 40 + 170 * (x + 2 * y) / (width + 2 * height)], axis=-1).astype(np.uint8)


@dataclass(frozen=True)
class Odd:
    """How a clip is stored."""

    suffix: str = ".mp4"
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (48, 64)
    """(H, W) as stored."""
    matrix: int = 1
    """H.273; 2 is untagged."""
    full: bool = False
    rotation: int = 0
    """Degrees counter-clockwise."""
    mirrored: bool = False
    times: tuple[int, ...] = (0, 40, 80, 120, 160, 200)
    """Of the frames, in milliseconds."""
    pixel_shape: Fraction = Fraction(1)
    fields: str | None = None
    """tff or bff."""
    frame_options: tuple[tuple[str, str], ...] = ()


MATRICES = {1: 1, 5: 5, 6: 5, 7: 7, 9: 9, 2: 5}
"""From H.273 to libswscale."""


def make_odd(path: Path, odd: Odd) -> Path:
    """Write a clip with PyAV."""
    height, width = odd.size
    with av.open(str(path), "w") as out:
        stream = out.add_stream(odd.codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, odd.pixel_format
        special = {
            "libx264": {"crf": "4"},
            "libx265": {"crf": "4", "x265-params": "log-level=none"},
            "libvpx-vp9": {"crf": "4", "b": "0", "cpu-used": "8"},
            "ffv1": {},
            "prores_ks": {},
        }
        stream.options = special.get(odd.codec, {"qmin": "2", "qmax": "3", "b": "20M"}) | dict(odd.frame_options)
        context = stream.codec_context
        steady = odd.suffix == ".avi" or odd.codec.startswith("mpeg")  # they have no times of their own
        base = context.time_base = Fraction(1, 25) if steady else BASE
        context.sample_aspect_ratio = odd.pixel_shape
        context.color_range = 2 if odd.full else 1
        if odd.matrix != 2:
            context.colorspace = odd.matrix
            context.color_primaries, context.color_trc = odd.matrix, {5: 6, 9: 14}.get(odd.matrix, odd.matrix)
        if odd.fields:
            order = f"{odd.fields}=1"
            stream.options |= {"x264-params": order} if odd.codec == "libx264" else {"flags": "+ilme+ildct"}
        if odd.rotation or odd.mirrored:
            stream.set_display_rotation(odd.rotation, odd.mirrored)
        packets: list[av.Packet] = []
        for index, time in enumerate(odd.times):
            frame = av.VideoFrame.from_ndarray(waves(index, height, width), format="rgb24")
            if odd.fields:
                frame = filtered(frame, ("setfield", f"mode={odd.fields}"))
            frame = frame.reformat(
                format=odd.pixel_format,
                dst_colorspace=MATRICES[odd.matrix],
                src_color_range=2,
                dst_color_range=2 if odd.full else 1,
            )
            frame.pts, frame.time_base = index if steady else time, base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        shown_for = dict(zip(odd.times, np.diff([*odd.times, odd.times[-1] + 40]).tolist(), strict=True))
        for packet in packets:
            if not steady:
                packet.duration = shown_for.get(packet.pts, 40)
            out.mux(packet)
    return path


def filtered(frame: av.VideoFrame, *filters: tuple[str, str]) -> av.VideoFrame:
    """The frame after a chain of ffmpeg's filters."""
    graph = Graph()
    base = frame.time_base or BASE
    last = graph.add("buffer", f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={base}")
    for name, arguments in (*filters, ("buffersink", None)):
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    graph.configure()
    graph.push(frame)
    graph.push(None)
    return graph.vpull()


@dataclass(frozen=True)
class Shown:
    """What ffmpeg shows of a clip."""

    rgb: list[np.ndarray]
    times: list[float]
    """Seconds from the first frame."""
    end: float
    """When the container says that the picture ends."""
    pixel_shape: Fraction
    """Width over height, upright."""
    fields: str | None
    depth: int


def shown(path: Path) -> Shown:
    """Decode as `ffmpeg -i PATH` does: upright, with times from the first frame."""
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        frames = list(clip.decode(stream))
        times = [float(f.pts * f.time_base) for f in frames]
        shape = stream.sample_aspect_ratio or Fraction(1)
        # Matroska counts its duration from zero, mp4 from the first frame.
        counted = (
            float(stream.duration * stream.time_base) if stream.duration else (clip.duration or 0) / 1e6 - times[0]
        )
        return Shown(
            [turn(frame) for frame in frames],
            [time - times[0] for time in times],
            counted,
            1 / shape if frames[0].rotation % 180 else shape,
            order(frames[0]),
            frames[0].format.components[0].bits,
        )


def order(frame: av.VideoFrame) -> str | None:
    """Field order by ffmpeg's select filter."""
    for name, kind in (("tff", "TOPFIRST"), ("bff", "BOTTOMFIRST")):
        try:
            filtered(frame, ("select", f"eq(interlace_type\\,{kind})"))
            return name
        except (av.FFmpegError, EOFError):
            continue
    return None


def turn(frame: av.VideoFrame) -> np.ndarray:
    """Upright RGB by the filters that ffmpeg's command line inserts for a display matrix (ffmpeg_filter.c)."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    rgb = frame.reformat(format="rgb24", interpolation=EXACT)
    if data is None:
        return rgb.to_ndarray()
    matrix = np.frombuffer(bytes(data), np.int32)
    angle = -frame.rotation % 360
    chain: list[tuple[str, str | None]] = []
    if angle == 90:
        chain = [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
    elif angle == 270:
        chain = [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
    elif angle == 180:
        chain = [(name, None) for name, flip in (("hflip", matrix[0] < 0), ("vflip", matrix[4] < 0)) if flip]
    elif matrix[4] < 0:
        chain = [("vflip", None)]
    return filtered(rgb, *chain).to_ndarray() if chain else rgb.to_ndarray()
