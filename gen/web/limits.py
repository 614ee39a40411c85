"""Limits on what visitors send. Every file is checked here before anything decodes it."""

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from gen.errors import BadInput, BadSetting, short
from gen.media.images import STILL_SUFFIXES, TooLarge, read_size
from gen.media.video import VIDEO_SUFFIXES
from gen.media.video.libav import open_input
from gen.web.settings import WebSettings


def check_still(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """Return the path if its header is that of an allowed image. Raises `BadInput`. `name`: what errors call it."""
    name = name or path.name
    _check_not_empty(path, name)
    try:
        height, width = read_size(path, settings.pixels)
    except (TooLarge, Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadInput(f"{name}: larger than {settings.megapixels:g} megapixels; reduce its size.") from None
    except Exception as error:  # readers of damaged files raise anything
        raise BadInput(f"{name}: not a readable image; use JPEG, PNG, WebP, BMP or TIFF.") from error
    _check_size(name, width, height, settings)
    return path


def check_clip(path: Path, settings: WebSettings, name: str | None = None) -> Path:
    """Return the path if its container holds a video track of allowed length and size. Raises `BadInput`.

    Headers may be wrong or silent. So the packets are counted, and their times and the first frame are looked at.
    """
    name = name or path.name
    _check_not_empty(path, name)
    try:
        with open_input(path) as container:
            if not container.streams.video:
                raise BadInput(f"{name}: contains no video track.")
            track = container.streams.video[0]
            _check_size(name, track.codec_context.width, track.codec_context.height, settings)
            track.codec_context.options = {"max_pixels": str(settings.pixels)}  # the decoder refuses larger frames
            _check_length(name, float(container.duration or 0) / av.time_base, track.frames, settings)
            _check_packets(name, container, track, settings)
    except (OSError, ValueError) as error:
        raise BadInput(f"{name}: not a readable clip; use MP4, MOV or MKV.") from error
    return path


def _check_packets(name: str, container: InputContainer, track: VideoStream, settings: WebSettings) -> None:
    """Raises `BadInput` if the packets of the track are too many or reach too far, or if its frames are too large."""
    first, last, count, frame = None, 0.0, 0, None
    for packet in container.demux(track):
        frame = frame or _first_frame(track, packet)
        count += packet.size > 0
        if packet.pts is not None:
            time = float(packet.pts * packet.time_base)
            first, last = time if first is None else min(first, time), max(last, time)
        _check_length(name, last - (first or 0), count, settings)
    if frame is None:
        limit = f"frames may have at most {settings.megapixels:g} megapixels"
        raise BadInput(f"{name}: no frame of this clip can be decoded ({limit}).")
    _check_size(name, frame.width, frame.height, settings)


def _first_frame(track: VideoStream, packet: "av.Packet[Any]") -> av.VideoFrame | None:
    """The frame that this packet completes; None if there is none, or if the packet is damaged."""
    try:
        return next(iter(track.decode(packet)), None)
    except av.FFmpegError:
        return None


def _check_size(name: str, width: int, height: int, settings: WebSettings) -> None:
    if width * height > settings.pixels:
        limit = f"at most {settings.megapixels:g} megapixels are allowed"
        raise BadInput(f"{name}: {width}x{height} pixels; {limit}.")


def _check_length(name: str, seconds: float, frames: int, settings: WebSettings) -> None:
    if seconds > settings.clip_seconds:
        raise BadInput(f"{name}: {seconds:.0f} s long; at most {settings.clip_seconds:g} s are allowed.")
    if frames > settings.clip_frames:
        raise BadInput(f"{name}: more than {settings.clip_frames} frames; cut the clip into shorter ones.")


def check_number(name: str, value: float | None, low: float, high: float) -> float:
    """The value, if it is a number in this range. Raises `BadSetting`; NaN is in no range."""
    if not isinstance(value, int | float) or not low <= value <= high:
        raise BadSetting(f"{name} must be a number from {low:g} to {high:g}, not {value}.")
    return value


def _check_not_empty(path: Path, name: str) -> None:
    if path.stat().st_size == 0:
        raise BadInput(f"{name}: the file is empty.")


def check_file(file: Path, name: str, settings: WebSettings, clips: bool) -> Path:
    """The file, if it is an allowed image or, with `clips`, clip. Raises `BadInput` otherwise."""
    suffix = file.suffix.lower()
    if suffix in STILL_SUFFIXES:
        return check_still(file, settings, name)
    if clips and suffix in VIDEO_SUFFIXES:
        return check_clip(file, settings, name)
    kinds = "images, clips or zips" if clips else "images or zips of images"
    raise BadInput(f"{name}: unsupported file type; use {kinds}.")


def inside(root: Path | None, text: str) -> Path:
    """The folder that a visitor named, if it is below `root`. Raises `BadInput` otherwise."""
    if root is None:
        raise BadInput("This server shares no folders; upload files instead.")
    base = root.resolve()  # resolved, as the path is below: a link in `root` must not lead out of it
    try:
        path = (base / text.strip().lstrip("/")).resolve()
        if path.is_relative_to(base) and path.is_dir():
            return path
    except (
        OSError,
        ValueError,
        RuntimeError,
    ):  # a name that no folder can have: too long, a zero byte, links in a ring
        pass
    raise BadInput(f"{short(text)}: no such folder on this server.")
