"""Read picture files as upright 8-bit RGB; `encode_still` writes them. What a file is, its first bytes say."""

import re
import stat
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO
from warnings import filterwarnings

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError, features

from gen.errors import BadInput
from gen.media import jpeg, png, still_colour, tiff
from gen.media.still import Metadata, Pixels, Still
from gen.media.still_metadata import Found, further_frames, read_after, read_before
from gen.media.still_writing import STILL_FORMATS, encode_still

__all__ = ["MAX_PIXELS", "NOT_READ", "READ_FORMATS", "STILL_FORMATS", "STILL_SUFFIXES", "WRITTEN_AS", "Metadata"]
__all__ += ["Pixels", "Still", "at_rows", "decode_still", "encode_still", "from_pil", "middle_square", "orientation_of"]
__all__ += ["open_header", "read_size", "still_size"]

HEIC = find_spec("pillow_heif") is not None
"""Whether the optional package that reads HEIC is installed."""
HEIC_SUFFIXES = (".heic", ".heif")

STILL_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".pgm", ".ppm", ".pnm"),
    *(HEIC_SUFFIXES if HEIC else ()),
)
"""Suffixes of the pictures that are read."""

NOT_READ = (
    {} if HEIC else {suffix: "HEIC needs an optional package: pip install 'gen[heic]'" for suffix in HEIC_SUFFIXES}
)
"""Suffixes of pictures that are not read on this machine, and why."""

WRITTEN_AS = {".jfif": ".jpg", ".heic": ".jpg", ".heif": ".jpg", ".gif": ".png"} | {
    suffix: ".png" for suffix in (".pgm", ".ppm", ".pnm") + (() if features.check("avif") else (".avif",))
}
"""Suffixes of pictures that are read and not written -> the suffix of their translations."""

READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM", *(("HEIF",) if HEIC else ()))
"""Formats that Pillow may open. Others are refused: EPS, for example, would start Ghostscript."""

MAGIC = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]|II\0[*+]|MM[*+]\0",
    "AVIF": rb"....ftyp(avif|avis|(mif1|msf1|miaf)(....)*?(avif|avis))",
    "HEIF": rb"....ftyp(hei[cmxs]|hev[cmx]|mif1|msf1|miaf)",
    "PPM": rb"P[1-6]\s|Pf\s",
}
"""First bytes of each format."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transpose that makes the image upright; 1 is upright already."""
TURNED = (5, 6, 7, 8)
"""Orientations that swap width and height."""

# Bytes of a PNG's profile or text when unpacked. Pillow's limit, 1 MB, refuses pictures with a profile of tables.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20

# Damaged metadata is named in `left_out`; Pillow's own words would stand between the lines of a command.
filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

MAX_PIXELS = 200_000_000
"""Default limit of a picture's size, against files that are small and unpack to anything."""

READ_WHOLE = ("WEBP", "AVIF", "HEIF")
"""Formats whose decoders take the whole file into memory."""
MAX_BYTES_PER_PIXEL = 4
"""Of a file that is read whole, against `max_pixels`."""


class TooLarge(BadInput):
    """A picture that `max_megapixels` does not allow."""


def decode_still(path: Path, max_pixels: int = MAX_PIXELS) -> Still:
    """Read a picture: upright, converted to 8-bit sRGB or to the RGB of its profile. Of several frames, the first.

    Raises `BadInput` with the path and the reason, also for more than `max_pixels` pixels.
    """
    try:
        with _open(path) as file:
            format, found = _check_start(path, file, max_pixels)
            still = _decode(path, file, format, found, max_pixels)
            metadata = replace(still.metadata, modified_ns=path.stat().st_mtime_ns)
            return replace(still, metadata=metadata)
    except BadInput as error:
        if str(path) in str(error):
            raise
        raise BadInput(f"{path}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(_too_large(path, max_pixels)) from error
    except MemoryError as error:
        raise BadInput(f"{path}: not enough memory to decode this picture.") from error
    except Exception as error:  # decoders of damaged files raise anything: struct.error, EOFError, ...
        raise BadInput(f"{path}: the image cannot be read ({error}).") from error


def still_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) as stored, read from the header; (0, 0) if it cannot be read."""
    try:
        return read_size(path, max_pixels)
    except Exception:  # whatever it is, `decode_still` says it
        return 0, 0


def orientation_of(path: Path) -> int:
    """EXIF orientation of a picture, 1 (upright) to 8; 1 if it cannot be read."""
    try:
        with Image.open(path, formats=READ_FORMATS) as image:
            orientation = _orientation(image)
    except Exception:  # whatever it is, `decode_still` says it
        return 1
    return orientation if orientation in UPRIGHT else 1


def read_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """As `still_size`, but it raises `BadInput`, or whatever the format's reader does, if the header is damaged."""
    with _open(path) as file:
        format, _ = _check_start(path, file, max_pixels)
        if format == "TIFF" and (layout := tiff.read_layout(file)):  # Pillow does not open all layouts that are read
            return layout.size[1], layout.size[0]
        with Image.open(file, formats=(format,)) as image:
            return image.height, image.width


def open_header(file: BinaryIO, path: Path) -> Image.Image:
    """The picture in an open file as Pillow opens it, to look at its header.

    Of any size: Pillow's limit is for pixels, of which none are decoded here. Raises what it likes.
    """
    Image.init()
    return Image.OPEN[_sniff(path, file)][0](file, str(path))


def _check_start(path: Path, file: BinaryIO, max_pixels: int) -> tuple[str, Found]:
    """The format, and what the file says before its pixels. Raises `BadInput` or ValueError if it is no picture.

    So Pillow, which would go through gigabytes byte by byte or read them into memory, does not see such a file.
    """
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit holds for the process; ours is checked for each file
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    format = _sniff(path, file)
    if format in READ_WHOLE and path.stat().st_size > MAX_BYTES_PER_PIXEL * max_pixels:
        raise TooLarge(_too_large(path, max_pixels))
    found = read_before(format, file)
    file.seek(0)
    return format, found


def _open(path: Path) -> BinaryIO:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for its writer for ever
            raise BadInput(f"{path}: not a file, so the image cannot be read.")
        if status.st_size == 0:
            raise BadInput(f"{path}: the file is empty.")
        return path.open("rb")
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error


def _sniff(path: Path, file: BinaryIO) -> str:
    """Pillow's name of the file's format, by its first bytes. Raises `BadInput` if it is none that is read."""
    head = file.read(64)
    file.seek(0)
    for format, magic in MAGIC.items():
        if re.match(magic, head, re.DOTALL):
            if format == "HEIF" and not HEIC:
                raise BadInput(f"{path}: not read; {NOT_READ['.heic']}.")
            if format == "HEIF":
                _register_heif()
            return format
    raise BadInput(f"{path}: not an image in a supported format.")


def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()


def _decode(path: Path, file: BinaryIO, format: str, found: Found, max_pixels: int) -> Still:
    layout = tiff.read_layout(file) if format == "TIFF" else None
    if layout:
        _check_size(path, layout.size, max_pixels)
        if layout.missing > 0:
            raise BadInput(f"the file is damaged: it lacks {layout.missing} of the strips or tiles of the picture.")
    odd = tiff.read_odd_layout(file, layout) if layout else None
    if layout and odd is not None:
        return _from_samples(odd, layout, found, file)
    if found.damaged:
        file = png.without_damaged(file, found.damaged)
    file.seek(0)
    try:  # by its file and not by its path, by which Pillow maps it into memory and scrambles turned RGBA TIFFs
        image = Image.open(file, formats=(format,))
    except UnidentifiedImageError as error:
        if layout is None:
            raise BadInput(f"this {format} is damaged, or of a rare kind that is not read.") from error
        odd = tiff.read_without_tags(file, layout)  # Pillow reads no tag after a damaged one
        if odd is None:
            raise BadInput(f"a TIFF of {layout.describe} is not supported.") from error
        return _from_samples(odd, layout, found, file)
    with image:
        _check_size(path, image.size, max_pixels)
        frames = further_frames(image, layout.tags.pages if layout else found.frames)
        image.seek(0)
        image.load()
        still = _from_loaded(image, layout, found, file, frames)
    if format == "JPEG" and (sentence := jpeg.damage(file)):
        return replace(still, warnings=(*still.warnings, sentence))
    return still


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadInput(f"{_too_large(path, max_pixels)[:-1]} (it has {width}x{height} pixels).")


def _too_large(path: Path, max_pixels: int) -> str:
    return f"{path}: larger than max_megapixels = {max_pixels / 1e6:g} allows; raise max_megapixels."


def _from_loaded(
    image: Image.Image, layout: tiff.Layout | None, found: Found, file: BinaryIO, frames: list[str]
) -> Still:
    if found.depth != 8 and isinstance(image.info.get("transparency"), int | tuple):
        _mend_transparency(image, found)
    orientation = _orientation(image)
    read_after(found, image, file, turned=(layout.orientation if layout else orientation) in TURNED)
    colours = still_colour.to_8_bit_rgb(image, layout.white if layout else None, layout.inverted if layout else False)
    depth = max(found.depth, layout.bits if layout else 8, 16 if image.mode.startswith(("I", "F")) else 8)
    still = _upright(colours, orientation)
    warnings = list(still.warnings)
    if found.depth == 16 and image.mode in ("RGB", "RGBA"):
        warnings += still_colour.reduced_warnings(still.rgb, found.depth)
    if still_colour.needs_conversion(found.cicp) and (still.icc is None or image.format == "PNG") and found.cicp:
        rgb, sentence = still_colour.cicp_to_srgb(still.rgb, found.cicp)
        still = replace(still, rgb=rgb, icc=None)
        warnings.append(sentence)
    if layout and layout.reversed_bits:
        warnings.append("The bits of each byte were reversed, as the tag FillOrder says; some viewers ignore it.")
    return _with_found(replace(still, warnings=tuple(warnings)), found, layout, frames, depth)


def _with_found(still: Still, found: Found, layout: tiff.Layout | None, frames: list[str], depth: int) -> Still:
    if layout:
        frames = frames + layout.unread_channels(still.alpha is not None)
        reduced = ("The first page is marked as a smaller copy of another one.",) if layout.is_reduced else ()
        still = replace(still, warnings=(*still.warnings, *reduced))
    bits = [f"{depth}-bit samples (translations have 8 bits)"] if depth > 8 else []
    left_out = tuple(dict.fromkeys([*frames, *bits, *still.left_out, *found.left_out]))
    return replace(still, exif=found.exif, metadata=found.metadata, left_out=left_out)


def _from_samples(odd: tiff.Samples, layout: tiff.Layout, found: Found, file: BinaryIO) -> Still:
    white = 1.0 if odd.values.dtype.kind == "f" else float(np.iinfo(odd.values.dtype).max)
    pixels, warnings = still_colour.deep_to_8_bit(odd.values, white)
    image = Image.fromarray(pixels)
    image.format = "TIFF"  # pyright: ignore[reportAttributeAccessIssue]  # for `read_after`
    read_after(found, image, file, turned=layout.orientation in TURNED)
    image.info["icc_profile"] = found.icc
    still = _upright(still_colour.to_8_bit_rgb(image), odd.orientation)
    still = replace(still, warnings=(*warnings, *still.warnings))
    return _with_found(still, found, layout, further_frames(image, layout.tags.pages), layout.bits)


def _mend_transparency(image: Image.Image, found: Found) -> None:
    """The transparent value of a PNG of 2, 4 or 16 bits, which Pillow does not scale as it does the samples."""
    key = image.info["transparency"]
    if isinstance(key, tuple):  # 16-bit colour, which has lost its lower bytes
        del image.info["transparency"]
        found.left_out.append("transparency of a single 16-bit colour")
    elif found.depth in (2, 4) and image.mode != "P":  # of a palette it is an index
        image.info["transparency"] = key * 255 // (2**found.depth - 1)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF; the pixels are fine
        return 1


def _upright(colours: still_colour.Colours, orientation: int) -> Still:
    image = colours.image
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    alpha = np.array(image.getchannel("A")) if image.mode in ("RGBA", "LA") else None
    rgb = np.array(image.convert("RGB"))
    return Still(rgb, alpha, icc=colours.icc, warnings=colours.warnings, left_out=colours.left_out)


def from_pil(opened: Image.Image) -> Still:
    """Convert a PIL image of any mode to upright 8 bit."""
    opened.load()
    orientation = _orientation(opened)
    return _upright(still_colour.to_8_bit_rgb(opened), orientation)


def middle_square(pixels: Pixels) -> Pixels:
    """(H, W, 3) -> its middle square, a view; of an odd margin the smaller half is cut off at the top or left."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def at_rows(rgb: Pixels, rows: int, width: int | None = None) -> Pixels:
    """Resize pixels (H, W, 3) to `rows` rows, keeping the aspect ratio unless `width` is given."""
    height, across = rgb.shape[:2]
    size = (width or max(1, round(across * rows / height)), rows)
    if (across, height) == size:
        return rgb
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
