"""Read image files as upright 8-bit RGB, and write them with metadata that says what made them."""

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from gen.about import VERSION
from gen.errors import BadInput
from gen.media.files import writing

Pixels = NDArray[np.uint8]

STILL_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

READ_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""Formats that Pillow may open. Others are refused: EPS, for example, would start Ghostscript."""

TIFF_MAGIC = (b"II*\0", b"MM\0*")

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

MAX_JPEG_EXIF = 65_000
"""Bytes; a JPEG segment holds at most 65,533."""


@dataclass(frozen=True)
class Still:
    """A decoded image, upright."""

    rgb: Pixels
    """(H, W, 3)."""
    alpha: Pixels | None = None
    """(H, W), 255 opaque; None if the file has no transparency."""
    exif: bytes | None = None
    """EXIF block (camera, time, GPS) with the orientation already applied."""
    icc: bytes | None = None
    """Colour profile of the pixels."""
    left_out: tuple[str, ...] = ()
    """What was not read of the file, each in a few words: further pages, damaged metadata."""
    warnings: tuple[str, ...] = ()
    """Faults and conversions that a viewer of the pixels should know, each a sentence."""


def decode_still(path: Path) -> Still:
    """Read a jpg, png, webp, bmp or tiff file: upright, converted to 8-bit RGB from 16 bit, palette, grey or CMYK.

    Raises `BadInput` with the path and the reason.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"{path}: the file is empty.")
        with Image.open(path, formats=READ_FORMATS) as opened:
            return from_pil(opened)
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file.") from error
    except UnidentifiedImageError as error:
        return _decode_tiff_with_ffmpeg(path, error)
    except Exception as error:  # decoders of damaged files raise anything: struct.error, EOFError, ...
        raise BadInput(f"{path}: the image cannot be read ({error}).") from error


def from_pil(opened: Image.Image) -> Still:
    """Convert a PIL image of any mode to upright 8 bit."""
    opened.load()
    exif, orientation = _read_exif(opened)
    icc = opened.info.get("icc_profile")
    icc = icc if icc and icc[16:20] == b"RGB " else None  # a CMYK or grey profile does not apply to the RGB pixels
    image = _to_8_bit(opened.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else opened)
    alpha = np.asarray(image.convert("RGBA"))[..., 3].copy() if image.has_transparency_data else None
    return Still(np.array(image.convert("RGB")), alpha, exif, icc)


def _read_exif(image: Image.Image) -> tuple[bytes | None, int]:
    """The EXIF block without its orientation, and the orientation. A damaged block is dropped."""
    orientation = 1
    try:
        exif = image.getexif()
        orientation = int(exif.pop(ExifTags.Base.Orientation, 1))
        return (exif.tobytes() if len(exif) else None), orientation
    except Exception:  # Pillow reads blocks that it cannot write; the pixels are fine
        return None, orientation


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Convert 16-bit grey (modes I;16*, and I from some PNG readers) and float grey in [0, 1]; others are unchanged."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64) * (255 if image.mode == "F" else 1 / 257)  # 65535 / 257 = 255
    return Image.fromarray(np.clip(np.round(np.nan_to_num(values)), 0, 255).astype(np.uint8))


def _decode_tiff_with_ffmpeg(path: Path, cause: Exception) -> Still:
    """Read a 16-bit colour TIFF, which Pillow does not support."""
    import av

    data = path.read_bytes()
    try:
        if not data.startswith(TIFF_MAGIC):  # ffmpeg would also open text files and playlists
            raise ValueError("not a TIFF file")
        with av.open(BytesIO(data), "r", format="tiff_pipe") as container:
            frame = next(container.decode(video=0))
        pixels = frame.to_ndarray(format="rgba").astype(np.uint8)
    except (av.FFmpegError, ValueError, IndexError, StopIteration):
        raise BadInput(f"{path}: not an image in a supported format.") from cause
    has_alpha = any(component.is_alpha for component in frame.format.components)
    return Still(pixels[..., :3].copy(), pixels[..., 3].copy() if has_alpha else None)


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


def encode_still(
    path: Path, still: Still, *, quality: int = 95, mark: str | None = None, strip_metadata: bool = False
) -> None:
    """Write `still` atomically in the format given by the suffix of `path`.

    JPEG and WebP at `quality`, JPEG with full chroma (4:4:4). PNG at its fastest level, because compressing a 720p PNG
    takes more time than the network. `mark`: a sentence for the file's metadata that says what made the image; it is
    kept even with `strip_metadata`. Raises `BadInput` if `path` cannot be written or the format cannot hold the image.
    """
    if strip_metadata:
        still = replace(still, exif=None, icc=None)
    image = Image.fromarray(still.rgb)
    suffix = path.suffix.lower()
    if still.alpha is not None and suffix in (".png", ".webp", ".tif", ".tiff"):
        image.putalpha(Image.fromarray(still.alpha))
    options: dict[str, object] = {"exif": marked_exif(still.exif, mark)} if suffix != ".bmp" else {}
    if still.icc and suffix != ".bmp":
        options["icc_profile"] = still.icc
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": quality, "subsampling": 0}
        if len(marked_exif(still.exif, mark)) > MAX_JPEG_EXIF:  # drop the rest, keep the mark
            options["exif"] = marked_exif(None, mark)
    elif suffix == ".webp":
        options |= {"quality": quality}
    elif suffix == ".png":
        options |= {"compress_level": 1, "pnginfo": _png_text(mark)}
    _write(path, image, options)


def _write(path: Path, image: Image.Image, options: dict[str, object]) -> None:
    buffer = BytesIO()
    try:
        image.save(buffer, format=Image.registered_extensions()[path.suffix.lower()], **options)
    except (OSError, ValueError) as error:  # mostly too large for the format: WebP allows 16383 pixels a side
        raise BadInput(
            f"{path}: an image of {image.width}x{image.height} cannot be saved in this format ({error})."
        ) from error
    with writing(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def marked_exif(exif: bytes | None, mark: str | None) -> bytes:
    """The EXIF block, with the mark in ImageDescription and gen's version in Software."""
    data = Image.Exif()
    if exif:
        data.load(exif)
    if mark:
        data[ExifTags.Base.Software] = f"gen {VERSION}"
        data[ExifTags.Base.ImageDescription] = mark
    return data.tobytes()


def _png_text(mark: str | None) -> PngInfo:
    text = PngInfo()
    if mark:
        text.add_itxt("Software", f"gen {VERSION}")
        text.add_itxt("Description", mark)
    return text
