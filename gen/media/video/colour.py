"""Colour of clips: what the tags mean, 8-bit RGB of a frame, and high dynamic range made standard.

Codes are those of ITU-T H.273, which ffmpeg uses too.
"""

from functools import cache
from typing import Any, NamedTuple

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from gen.media.colorimetry import (
    BT709,
    BT2020,
    CHROMATICITIES,
    HLG,
    PQ,
    hlg_display,
    hlg_scene,
    pq_light,
    srgb_signal,
    to_bt709,
)

Pixels = NDArray[np.uint8]

BT470BG, SMPTE170M, SMPTE240M = 5, 6, 7
HDR = {PQ: "PQ", HLG: "HLG"}

FILTER_MATRICES = {
    BT709: "bt709",
    4: "fcc",
    BT470BG: "bt470",
    SMPTE170M: "smpte170m",
    SMPTE240M: "smpte240m",
    BT2020: "bt2020",
}
"""Matrices that libswscale knows, by their code in H.273, with libavfilter's names."""

UNKNOWN_MATRICES = {8: "YCgCo", 10: "BT.2020 constant luminance", 11: "SMPTE 2085", 12: "chromaticity-derived",
                    13: "chromaticity-derived constant luminance", 14: "ICtCp"}  # fmt: skip
"""Matrices that libswscale does not know."""

DEFAULTS = {BT709: (1, 1), 4: (4, 4), BT470BG: (5, 6), SMPTE170M: (6, 6), SMPTE240M: (7, 7), BT2020: (9, 14)}
"""Primaries and transfer curve that belong to each matrix."""

ACCURATE = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP | Interpolation.FULL_CHR_H_INT
)
"""Without these, libswscale's fast paths darken every conversion by more than one grey level."""

HD_WIDTH, HD_HEIGHT = 1280, 577
"""Players assume BT.709 for an untagged clip of at least either size, else BT.601."""

ROWS = 128
"""Rows that are tone-mapped at a time: float arrays of a whole 4K frame would take 300 MB."""


class Colour(NamedTuple):
    """How a clip's numbers stand for colours."""

    matrix: int
    primaries: int
    transfer: int


SDR = Colour(BT709, BT709, BT709)
"""What gen's own pictures and tone-mapped clips are in."""


def colour_of(frame: av.VideoFrame) -> Colour:
    """The frame's tags, with what players assume where a tag is missing or unknown to libswscale."""
    matrix = int(frame.colorspace)
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = BT709  # the pixels need none; the output does
    elif matrix not in FILTER_MATRICES:
        large = frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT
        matrix = BT2020 if frame.color_trc in HDR else BT709 if large else SMPTE170M
    primaries, transfer = DEFAULTS[matrix]
    return Colour(matrix, _tag(frame.color_primaries, primaries), _tag(frame.color_trc, transfer))


def _tag(code: int, default: int) -> int:
    """A code, or the default where it is unspecified or reserved (0, 2, 3)."""
    return int(code) if code == BT709 or code > 3 else default


def to_rgb(frame: av.VideoFrame, colour: Colour) -> Pixels:
    """8-bit sRGB-like RGB (H, W, 3) of a decoded frame. PQ and HLG become standard dynamic range."""
    if not frame.format.is_rgb:
        frame.colorspace = colour.matrix
    if colour.transfer in HDR:
        # libswscale gets rgb48le wrong with full chroma interpolation.
        deep: Any = frame.reformat(format="gbrp16le", interpolation=ACCURATE).to_ndarray()
        return to_sdr(deep, colour)
    rgb: Any = frame.to_ndarray(format="rgb24", interpolation=ACCURATE)
    return rgb


def rgb_filters(pixel_format: str, colour: Colour) -> tuple[tuple[str, str], ...]:
    """libavfilter's filters from RGB to an encoder's pixel format.

    Chroma samples lie where decoders of MPEG codecs expect them, at the left; libswscale's default shifts them by half
    a pixel. The range is limited, because libswscale rounds full-range chroma down. Fields stay apart.
    """
    matrix = FILTER_MATRICES[colour.matrix]
    flags = "bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
    options = f"out_color_matrix={matrix}:out_range=limited:out_chroma_loc=left:interl=-1:flags={flags}"
    return ("scale", options), ("format", f"pix_fmts={pixel_format}")


def to_sdr(rgb: NDArray[np.uint16], colour: Colour) -> Pixels:
    """PQ or HLG signal (H, W, 3), full range of 16 bits -> BT.709 with sRGB's curve, 8 bits.

    Colours up to SDR white keep their luminance; what is brighter is scaled down to it, with its hue.
    """
    out = np.empty(rgb.shape, np.uint8)
    linear_of, code_of = _linear_table(colour.transfer), _srgb_table()
    primaries = colour.primaries if colour.primaries in CHROMATICITIES else BT2020
    for top in range(0, len(rgb), ROWS):
        light = linear_of[rgb[top : top + ROWS]]
        if colour.transfer == HLG:
            light = hlg_display(light, primaries)
        light = light @ to_bt709(primaries).T
        light /= np.maximum(light.max(-1, keepdims=True), 1)
        out[top : top + ROWS] = code_of[np.round(np.maximum(light, 0) * 65535).astype(np.uint16)]
    return out


@cache
def _linear_table(transfer: int) -> NDArray[np.float32]:
    """16-bit signal -> light. PQ: of the display, 1 is SDR white. HLG: of the scene, 0..1."""
    signal = np.arange(65536) / 65535
    return pq_light(signal) if transfer == PQ else hlg_scene(signal)


@cache
def _srgb_table() -> Pixels:
    """16-bit linear light -> 8-bit sRGB code (IEC 61966-2-1)."""
    return np.round(255 * srgb_signal(np.arange(65536) / 65535)).astype(np.uint8)
