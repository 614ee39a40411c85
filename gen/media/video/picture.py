"""From a decoded frame to upright RGB: display matrix, fields, chroma and depth."""

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type

from gen.media.video.colour import HDR, SDR, UNKNOWN_MATRICES, Colour, Pixels, colour_of, to_rgb
from gen.media.video.libav import filter_graph

FIELD_ORDERS = {"tff": "TOPFIRST", "bff": "BOTTOMFIRST"}
STREAM_ORDERS = {2: "tff", 3: "bff", 4: "tff", 5: "bff"}
"""Field orders of a stream (AVFieldOrder) that are neither unknown nor progressive."""

NOT_KEPT = {
    Type.A53_CC: "closed captions inside the picture track",
    Type.S12M_TIMECODE: "time code inside the picture track",
    Type.SPHERICAL: "the mark of a 360 degree picture",
    Type.STEREO3D: "the mark of a stereoscopic picture",
    Type.ICC_PROFILE: "colour profile (ICC)",
    Type.MASTERING_DISPLAY_METADATA: "HDR metadata",
    Type.CONTENT_LIGHT_LEVEL: "HDR metadata",
    Type.DYNAMIC_HDR_PLUS: "HDR metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.SEI_UNREGISTERED: "data inside the picture track (SEI)",
}
"""Data beside a frame's pixels that no encoder here writes, in words for the report."""

ENCODER_NOTES = (b"\xdcE\xe9\xbd\xe6\xd9H\xb7", b",\xa2\xde\t\xb5\x17G\xdb")
"""First bytes of the SEI in which x264 and x265 note their settings: nothing that is missed."""


class Orientation(NamedTuple):
    """How a stored frame is made upright: transposed first, then mirrored."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right."""
    flipped: bool = False
    """Top and bottom."""

    def apply(self, rgb: Pixels) -> Pixels:
        """Turn (H, W, 3)."""
        rgb = rgb.swapaxes(0, 1) if self.transposed else rgb
        return np.ascontiguousarray(rgb[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1])


def side_data(frame: av.VideoFrame) -> Any:
    """What is stored beside the frame's pixels."""
    # Not `frame.side_data`: by that, frame and data hold each other. The memory of a hundred frames is then only freed
    # when Python looks for such cycles.
    container: Any = SideDataContainer  # its type stub lacks the constructor
    return container(frame)


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """From the display matrix (ISO 14496-12, 8.3.2), which maps (x, y) to (a x + c y, b x + d y)."""
    data = side_data(frame).get(Type.DISPLAYMATRIX)
    if data is None:
        return Orientation()
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32)
    if abs(int(a)) + abs(int(d)) >= abs(int(b)) + abs(int(c)):
        return Orientation(False, bool(a < 0), bool(d < 0))
    return Orientation(True, bool(c < 0), bool(b < 0))


def field_order(frame: av.VideoFrame) -> str | None:
    """tff or bff: the field that an interlaced frame shows first. None: progressive."""
    for name, kind in FIELD_ORDERS.items():
        graph = filter_graph(frame, ("select", f"eq(interlace_type\\,{kind})"))
        graph.push(frame)
        graph.push(None)
        try:
            graph.pull()
        except (av.FFmpegError, EOFError):
            continue
        return name
    return None


class PictureFormat:
    """What the first frame says of the picture of a clip."""

    def __init__(self, frame: av.VideoFrame, stream_order: int, keep_fields: bool) -> None:
        """`stream_order`: AVFieldOrder; `keep_fields`: whether fields may stay, where the frame is not turned."""
        self.stored = frame.height, frame.width
        self.orientation = orientation_of(frame)
        self.height, self.width = self.stored[::-1] if self.orientation.transposed else self.stored
        self.colour = colour_of(frame)
        self.hdr = HDR.get(self.colour.transfer)
        self.unknown_matrix = None if frame.format.is_rgb else UNKNOWN_MATRICES.get(int(frame.colorspace))
        order = field_order(frame) if frame.interlaced_frame else STREAM_ORDERS.get(stream_order)
        kept = keep_fields and self.orientation == Orientation()
        self.field_order = order if kept else None
        self.deinterlaced = order is not None and not kept
        components = frame.format.components
        self.depth = max(c.bits for c in components)
        self.alpha = any(c.is_alpha for c in components)
        self.chroma = chroma_of(frame.format, self.orientation.transposed)

    @property
    def output_colour(self) -> Colour:
        """How the RGB of `upright` is to be written."""
        return SDR if self.hdr else self.colour

    def resized(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The frame at the first one's size."""
        height, width = self.stored
        return frame if (frame.height, frame.width) == self.stored else frame.reformat(width=width, height=height)

    def upright(self, frame: av.VideoFrame) -> Pixels:
        """RGB as a player shows it (height, width, 3)."""
        return self.orientation.apply(to_rgb(frame, self.colour))


def chroma_of(pixel_format: av.VideoFormat, transposed: bool) -> str:
    """420, 422 or 444: the least that keeps the chroma samples of a format, whose frames are transposed or not."""
    if pixel_format.is_rgb or pixel_format.has_palette:
        return "444"
    if len(pixel_format.components) < 3:  # grey
        return "420"
    chroma = pixel_format.components[1]
    across, down = chroma.width < pixel_format.width, chroma.height < pixel_format.height
    if transposed:
        across, down = down, across
    return {(True, True): "420", (True, False): "422"}.get((across, down), "444")


def lost_with(frame: av.VideoFrame) -> Iterator[str]:
    """What is stored beside the frame's pixels and is not kept, in words."""
    for data in side_data(frame):
        if data.type in NOT_KEPT and not (data.type == Type.SEI_UNREGISTERED and bytes(data)[:8] in ENCODER_NOTES):
            yield NOT_KEPT[data.type]


def deinterlaced(frames: Iterator[tuple[av.VideoFrame, int]]) -> Iterator[tuple[av.VideoFrame, int]]:
    """One progressive frame for each, by bwdif. Frames are of one size, and come with their times."""
    graph, times = None, deque[int]()
    for frame, time in frames:
        graph = graph or filter_graph(frame, ("bwdif", "mode=send_frame:deint=all"))
        times.append(time)
        graph.push(frame)
        yield from _pulled(graph, times)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, times)


def _pulled(graph: Graph, times: deque[int]) -> Iterator[tuple[av.VideoFrame, int]]:
    while times:
        try:
            frame = graph.vpull()
        except (av.FFmpegError, EOFError):  # it waits for the next frame
            return
        yield frame, times.popleft()
