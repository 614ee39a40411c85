"""Video encoders: which one, its quality, its pixel format, and whether this machine has it."""

import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import numpy as np
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.container import OutputContainer
from av.filter import Graph

from gen.errors import BadSetting
from gen.media.video.colour import SDR, Colour, Pixels, rgb_filters
from gen.media.video.libav import FORMATS, filter_graph, reason

CodecName = Literal["h264", "hevc", "av1"]


class Software(NamedTuple):
    """An encoder that runs anywhere."""

    name: str
    crf: int
    """Constant rate factor at which the loss is hardly visible."""
    options: dict[str, str]
    """Fast enough to cost less than the network."""


SOFTWARE: dict[str, Software] = {
    "h264": Software("libx264", 18, {"preset": "veryfast"}),
    "hevc": Software("libx265", 20, {"preset": "veryfast", "x265-params": "log-level=error"}),
    "av1": Software("libsvtav1", 24, {"preset": "8"}),
}

HARDWARE: dict[str, dict[str, str]] = {
    "nvenc": {"rc": "vbr", "cq": "{crf}", "b": "0"},
    "qsv": {"global_quality": "{crf}"},
    "vaapi": {"rc_mode": "CQP", "qp": "{crf}"},
    "amf": {"rc": "cqp", "qp_i": "{crf}", "qp_p": "{crf}"},
    "videotoolbox": {"flags": "+qscale", "global_quality": "{lambda_}"},
}
"""Options of hardware encoders by the last part of their name; each has its own word for a constant quality."""

PIXEL_FORMATS = {
    ("420", 8): ("yuv420p", "nv12"),
    ("422", 8): ("yuv422p", "nv16"),
    ("444", 8): ("yuv444p",),
    ("420", 10): ("yuv420p10le", "p010le"),
    ("422", 10): ("yuv422p10le", "p210le"),
    ("444", 10): ("yuv444p10le",),
}
"""Pixel formats for a chroma format and a depth; the first one that the encoder takes is used."""


@dataclass(frozen=True)
class Encoding:
    """How the picture of a clip is encoded."""

    codec: CodecName = "h264"
    crf: int | None = None
    """Quality; lower is better. None: hardly visible loss."""
    bit_depth: Literal[8, 10] = 8
    encoder: str | None = None
    """ffmpeg's name of another encoder, such as h264_nvenc. None: the software encoder of `codec`."""

    @property
    def name(self) -> str:
        """ffmpeg's name of the encoder."""
        return self.encoder or SOFTWARE[self.codec].name

    @property
    def is_software(self) -> bool:
        """Whether it encodes alike on every machine."""
        return self.name in {software.name for software in SOFTWARE.values()}

    @property
    def keeps_fields(self) -> bool:
        """Whether interlaced frames can stay so."""
        return self.name == "libx264"

    @property
    def options(self) -> dict[str, str]:
        """The encoder's options."""
        software = next((s for s in SOFTWARE.values() if s.name == self.name), None)
        quality = self.crf if self.crf is not None else (software or SOFTWARE[self.codec]).crf
        if software:
            return {"crf": str(quality)} | software.options
        special = HARDWARE.get(self.name.rpartition("_")[2], {"crf": "{crf}"})
        # VideoToolbox counts from 0 to 100, higher is better, in units of 118 (FF_QP2LAMBDA).
        return {name: value.format(crf=quality, lambda_=118 * (100 - 2 * quality)) for name, value in special.items()}


H264 = Encoding()

LEAST_SIZES = {"libx265": (1, 64), "libsvtav1": (4, 4)}
"""Smallest (H, W) of encoders that cannot write every frame. x265 4.1 corrupts its memory at some widths below its
largest block (40 and 48, for example)."""

FINEST = Fraction(1, 90_000)
"""Seconds; the finest time base of an output."""

TRIAL_ERRORS = (av.FFmpegError, ValueError, OSError, NotImplementedError)
"""What encoders and containers raise where they do not work."""


def pixel_format(encoding: Encoding, chroma: str, size: tuple[int, int]) -> tuple[str, str]:
    """The encoder's pixel format and chroma format for frames (H, W) of which the source has this chroma.

    An odd side needs a chroma sample for each pixel of it. Raises `BadSetting` if the encoder has no such depth.
    """
    height, width = size
    taken = [f.name for f in Codec(encoding.name, "w").video_formats or ()]
    wanted = [chroma, *(c for c in ("444", "422", "420") if c < chroma)]
    if width % 2 or (height % 2 and chroma == "420"):
        wanted = ["444", *wanted] if any(f in taken for f in PIXEL_FORMATS["444", encoding.bit_depth]) else wanted
    for kind in wanted:
        for name in PIXEL_FORMATS[kind, encoding.bit_depth]:
            if name in taken or not taken:
                return name, kind
    raise BadSetting(f"bit_depth: {encoding.name} cannot write {encoding.bit_depth} bits; use another encoder.")


class PictureStream:
    """A picture stream of an output container, which takes RGB frames."""

    def __init__(
        self,
        container: OutputContainer,
        encoding: Encoding,
        size: tuple[int, int],
        rate: Fraction,
        time_base: Fraction,
        chroma: str = "420",
        colour: Colour = SDR,
        field_order: str | None = None,
    ) -> None:
        """`size`: (H, W); `rate`: frames per second; `time_base`: seconds per unit of the frames' times.

        `chroma`: 420, 422 or 444, if the encoder has it; `field_order`: tff or bff, which only libx264 has. Raises
        `BadSetting` if the encoder lacks the depth or the size.
        """
        height, width = LEAST_SIZES.get(encoding.name, (0, 0))
        if size[0] < height or size[1] < width:
            raise BadSetting(
                f"codec: {encoding.name} needs frames that are at least {width} pixels wide and {height} high; "
                "use h264."
            )
        if encoding.name == SOFTWARE["av1"].name:
            os.environ.setdefault("SVT_LOG", "1")  # errors alone; the library prints its settings otherwise
        fmt, self.chroma = pixel_format(encoding, chroma, size)
        self._container = container
        # VA-API takes frames from the device alone; the other kinds of hardware take them from memory.
        device = HWAccel("vaapi") if encoding.name.endswith("_vaapi") else None
        self.stream: Any = container.add_stream(encoding.name, rate=rate, hwaccel=device)
        self.stream.height, self.stream.width = size
        self.stream.pix_fmt = fmt
        fields = {"x264-params": f"{field_order}=1"} if field_order else {}
        self.stream.options = encoding.options | fields
        context = self.stream.codec_context
        # Finer ones would overflow the 32 bits that mp4 has for a duration.
        context.time_base = self.time_base = max(time_base, FINEST)
        context.colorspace, context.color_primaries, context.color_trc = colour
        context.color_range = 1  # limited, as `rgb_filters` make it
        if "hevc" in encoding.name or encoding.name == "libx265":
            context.codec_tag = "hvc1"  # the one of two tags that Apple's players know
        marks = [("setfield", f"mode={field_order}")] if field_order else []
        self._filters = (*marks, *rgb_filters(fmt, colour))
        self._graph: Graph | None = None

    def open(self) -> bytes:
        """Open the encoder, before the first frame. Returns what decoders need to know of the stream (extradata)."""
        self._container.start_encoding()
        end_real_time()
        return bytes(self.stream.codec_context.extradata or b"")

    def encode(self, rgb: Pixels, pts: int) -> list[Any]:
        """The packets that are complete with this frame (H, W, 3), shown at `pts` in units of `time_base`."""
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
        frame.pts, frame.time_base = pts, self.time_base
        self._graph = self._graph or filter_graph(frame, *self._filters)
        self._graph.push(frame)
        opens = not self.stream.codec_context.is_open
        try:
            return self.stream.encode(self._graph.vpull())
        finally:
            if opens:
                end_real_time()

    def rest(self) -> list[Any]:
        """The packets that are left."""
        return self.stream.encode()


def end_real_time() -> None:
    """Give all threads of this process the usual priority.

    Where it may (as root), libsvtav1 makes its threads, and the one that opens it, real-time threads. All threads that
    these start later inherit it, those of torch too, and other programs then get a twentieth of the processor.
    """
    if sys.platform == "linux":
        for thread in map(int, os.listdir("/proc/self/task")):
            with suppress(OSError):  # it has just ended
                if os.sched_getscheduler(thread) in (os.SCHED_FIFO, os.SCHED_RR):
                    os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def check_encoding(encoding: Encoding, suffix: str = ".mkv") -> None:
    """Encode a few frames into such a container. Raises `BadSetting` if this machine or the container cannot."""
    have = ", ".join(s.name for s in SOFTWARE.values())
    try:
        known = Codec(encoding.name, "w").type == "video"
    except ValueError:
        known = False
    if not known:
        raise BadSetting(f"encoder: {encoding.name!r} is no video encoder of this ffmpeg; these always work: {have}.")
    try:
        _encode_trial(encoding, ".mkv")
    except TRIAL_ERRORS as error:
        raise BadSetting(
            f"encoder: {encoding.name} does not work on this machine ({reason(error)}); these always do: {have}."
        ) from error
    try:
        _encode_trial(encoding, suffix)
    except TRIAL_ERRORS as error:
        raise BadSetting(f"codec: {suffix} cannot hold what {encoding.name} makes; use h264, or .mkv.") from error


def _encode_trial(encoding: Encoding, suffix: str) -> None:
    black = np.zeros((256, 256, 3), np.uint8)
    with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as container:
        picture = PictureStream(container, encoding, (256, 256), Fraction(25), Fraction(1, 400))
        for index in range(3):
            container.mux(picture.encode(black, 16 * index))
        container.mux(picture.rest())
