"""Colours of any picture file -> 8-bit RGB: deep and float samples, CMYK, LAB and grey profiles, HDR."""

from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from gen.errors import BadInput
from gen.media.colorimetry import (
    BT2020,
    HLG,
    P3_D65,
    PQ,
    hlg_display,
    hlg_scene,
    pq_light,
    srgb_light,
    srgb_signal,
    to_bt709,
)
from gen.media.still import Pixels

LINEAR = 8
"""Number of linear light as a transfer function in ITU-T H.273."""
BLOCK_ROWS = 256
"""Rows that are converted at once, which bounds the memory of float copies."""


class Colours(NamedTuple):
    """A picture in 8 bit."""

    image: Image.Image
    """Mode RGB or RGBA."""
    icc: bytes | None
    """Profile of its pixels, None for sRGB."""
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def to_8_bit_rgb(image: Image.Image, white: float | None = None, invert: bool = False) -> Colours:
    """Convert a loaded picture of any mode. Raises `BadInput` for values without a defined white.

    `white`: value of white in grey pictures of more than 8 bits; None: 65535, or 1 of float. `invert`: 0 is white.
    """
    icc = image.info.get("icc_profile")
    space = profile_space(icc)
    warnings: list[str] = []
    if image.mode.startswith(("I", "F")):
        image, warnings = _deep_grey(image, white or (1.0 if image.mode == "F" else 65535.0), invert)
    alpha = _alpha(image)
    rgb = None
    if image.mode == "LAB":
        rgb = _through_profile(image, ImageCms.createProfile("LAB"))
        warnings.append("CIELAB colours were converted to sRGB.")
    elif image.mode == "CMYK":
        rgb = _through_profile(image, icc) if space == b"CMYK" else None
        how = "by the file's profile" if rgb else "without a colour profile, which is only an approximation"
        warnings.append(f"CMYK colours were converted to sRGB {how}.")
    elif image.mode in ("L", "LA", "1") and space == b"GRAY":
        rgb = _through_profile(image.convert("L"), icc)
        if rgb:
            warnings.append("Grey values were converted to sRGB by the file's profile.")
    fits = space == b"RGB " and image.mode not in ("CMYK", "LAB", "L", "LA", "1")
    lost = ("colour profile that does not fit the pixels",) if icc and not fits and rgb is None else ()
    rgb = rgb or image.convert("RGB")
    if alpha is not None:
        rgb.putalpha(alpha)
    return Colours(rgb, icc if fits else None, tuple(warnings), lost)


def profile_space(icc: bytes | None) -> bytes | None:
    """Colour space that a profile is for, for example b"RGB "; None if it is not a profile. ICC.1, 7.2."""
    return icc[16:20] if icc and len(icc) >= 128 and icc[36:40] == b"acsp" else None


def _deep_grey(image: Image.Image, white: float, invert: bool) -> tuple[Image.Image, list[str]]:
    values = np.asarray(image)
    grey, warnings = deep_to_8_bit(values, white, invert)
    found = Image.fromarray(grey)
    key = image.info.get("transparency")
    if isinstance(key, int):  # the deep value that is transparent; 8-bit values stand for several of them
        found.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return found, warnings


def deep_to_8_bit(values: NDArray[Any], white: float, invert: bool = False) -> tuple[Pixels, list[str]]:
    """Samples of any type -> 8 bit, with warnings. Raises `BadInput` if float samples are not on a scale of 0 to 1."""
    is_float = values.dtype.kind == "f"
    top = float(np.nanmax(values, initial=0.0))
    if is_float and float(np.nanmean(values)) > white:
        raise BadInput(f"the float values are mostly above 1, which is white (the largest is {top:.4g}); divide them.")
    out = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), BLOCK_ROWS):
        share = np.nan_to_num(values[start : start + BLOCK_ROWS].astype(np.float64) / white, posinf=1.0, neginf=0.0)
        out[start : start + BLOCK_ROWS] = np.round(255 * np.clip(1 - share if invert else share, 0, 1))
    return out, _range_warnings(top, white, is_float)


def reduced_warnings(rgb: Pixels, depth: int) -> list[str]:
    """Warnings for a picture (H, W, 3) of `depth` bits of which the decoder has kept the upper 8."""
    bits = int(rgb.max(initial=0)).bit_length() + depth - 8
    if depth != 16 or bits > 12:
        return []
    return [f"The samples use at most {bits} of their {depth} bits and were not stretched: the picture is dark."]


def _range_warnings(top: float, white: float, is_float: bool) -> list[str]:
    if is_float and not top <= white:
        return [f"Float values above 1 were cut off at white (the largest is {top:.4g})."]
    if not is_float and 0 < top <= white / 15:  # 12 bits in 16, above all; viewers show them dark as well
        bits, of = int(top).bit_length(), int(white).bit_length()
        return [f"The samples use only {bits} of their {of} bits and were not stretched: the picture is dark."]
    return []


def _alpha(image: Image.Image) -> Image.Image | None:
    """The alpha channel of a picture that has transparency of any kind."""
    return image.convert("RGBA").getchannel("A") if image.has_transparency_data else None


def _through_profile(image: Image.Image, profile: object) -> Image.Image | None:
    """The picture in sRGB, as seen through its profile; None if the profile is damaged."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile)) if isinstance(profile, bytes) else profile
        return ImageCms.profileToProfile(
            image,
            source,  # pyright: ignore[reportArgumentType]  # typed without CmsProfile, which createProfile gives
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def to_srgb(rgb: Pixels, icc: bytes) -> Pixels | None:
    """Pixels (H, W, 3) of an RGB profile -> sRGB, for files that cannot hold the profile; None if it is damaged."""
    if profile_space(icc) != b"RGB ":
        return None
    seen = _through_profile(Image.fromarray(rgb), icc)
    return None if seen is None else np.array(seen)


def needs_conversion(cicp: tuple[int, int] | None) -> bool:
    """Whether pixels of these colour primaries and this transfer function (H.273) differ much from sRGB."""
    return cicp is not None and (cicp[1] in (PQ, HLG, LINEAR) or cicp[0] in (BT2020, P3_D65))


def cicp_to_srgb(rgb: Pixels, cicp: tuple[int, int]) -> tuple[Pixels, str]:
    """Pixels (H, W, 3) of other primaries and transfer functions (H.273) -> sRGB, and a sentence that says so.

    PQ and HLG: diffuse white, 203 cd/m2, becomes white, and what is brighter is cut off there.
    """
    primaries, transfer = cicp
    light = _light_of(transfer)
    matrix = to_bt709(primaries) if primaries in (BT2020, P3_D65) else None
    out = np.empty_like(rgb)
    for start in range(0, len(rgb), BLOCK_ROWS):
        linear = light[rgb[start : start + BLOCK_ROWS]]
        if transfer == HLG:
            linear = hlg_display(linear)
        if matrix is not None:
            linear = linear @ matrix.T
        out[start : start + BLOCK_ROWS] = np.round(255 * srgb_signal(np.clip(linear, 0, 1)))
    name = {PQ: "HDR (PQ)", HLG: "HDR (HLG)"}.get(transfer)
    if name:
        return out, f"{name} colours were converted to SDR: white is 203 cd/m2, and what is brighter is cut off."
    return out, "Wide-gamut colours were converted to sRGB."


def _light_of(transfer: int) -> NDArray[np.float32]:
    """Table of 256: linear light of each 8-bit value, 1 = white; for HLG the light of the scene, 0..1."""
    signal = np.arange(256) / 255
    if transfer == PQ:
        return pq_light(signal)
    if transfer == HLG:
        return hlg_scene(signal)
    # Others: sRGB's, and BT.709, which is shown on the same displays.
    return signal.astype(np.float32) if transfer == LINEAR else srgb_light(signal)
