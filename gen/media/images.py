"""Stills: any picture file to upright 8-bit RGB, and back to a file that says what was done to it."""

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
"""What Pillow may take a file for: others, such as EPS, would start programs."""

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
"""What makes a picture upright, by its EXIF orientation (1: it is already)."""

MOST_JPEG_EXIF = 65_000
"""Bytes: a JPEG segment cannot hold more than 65,533."""


@dataclass(frozen=True)
class Still:
    """A decoded picture, upright."""

    rgb: Pixels
    """(H, W, 3)."""
    alpha: Pixels | None = None
    """(H, W), 255 opaque; None where the file has no transparency."""
    exif: bytes | None = None
    """EXIF block (camera, time, GPS) with the orientation already applied."""
    icc: bytes | None = None
    """Colour profile of the pixels."""


def decode_still(path: Path) -> Still:
    """Read a jpg, png, webp, bmp or tiff file: EXIF turn applied, 16 bit to 8, palette, grey, CMYK and alpha.

    Raises `BadInput` with the file's name and the reason.
    """
    try:
        if path.stat().st_size == 0:
            raise BadInput(f"{path}: the file is empty.")
        with Image.open(path, formats=READ_FORMATS) as opened:
            return from_pil(opened)
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"{path}: there is no such file.") from error
    except UnidentifiedImageError as error:
        return _decode_tiff_with_ffmpeg(path, error)
    except Exception as error:  # decoders raise whatever the damage brings out: struct.error, EOFError, ...
        raise BadInput(f"{path}: the picture cannot be read ({error}).") from error


def from_pil(opened: Image.Image) -> Still:
    """A PIL image of any mode, upright and in 8 bit."""
    opened.load()
    exif, turn = _read_exif(opened)
    icc = opened.info.get("icc_profile")
    icc = icc if icc and icc[16:20] == b"RGB " else None  # a profile of inks or greys says nothing of the RGB
    image = _to_8_bit(opened.transpose(UPRIGHT[turn]) if turn in UPRIGHT else opened)
    alpha = np.asarray(image.convert("RGBA"))[..., 3].copy() if image.has_transparency_data else None
    return Still(np.array(image.convert("RGB")), alpha, exif, icc)


def _read_exif(image: Image.Image) -> tuple[bytes | None, int]:
    """The EXIF block without its orientation, and the orientation. A block beyond repair is left out."""
    turn = 1
    try:
        exif = image.getexif()
        turn = int(exif.pop(ExifTags.Base.Orientation, 1))
        return (exif.tobytes() if len(exif) else None), turn
    except Exception:  # Pillow reads more than it can write; the picture itself is sound
        return None, turn


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit grey (modes I;16*, and I as some PNG readers give) and float grey in [0, 1]; others as they are."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image).astype(np.float64) * (255 if image.mode == "F" else 1 / 257)
    return Image.fromarray(np.clip(np.round(np.nan_to_num(values)), 0, 255).astype(np.uint8))


def _decode_tiff_with_ffmpeg(path: Path, cause: Exception) -> Still:
    """16-bit colour TIFF, which is beyond Pillow."""
    import av

    data = path.read_bytes()
    try:
        if not data.startswith(TIFF_MAGIC):  # ffmpeg takes too much for a picture: texts, lists of files
            raise ValueError("no picture")
        with av.open(BytesIO(data), "r", format="tiff_pipe") as container:
            frame = next(container.decode(video=0))
        pixels = frame.to_ndarray(format="rgba").astype(np.uint8)
    except (av.FFmpegError, ValueError, IndexError, StopIteration):
        raise BadInput(f"{path}: this is not a picture that can be read.") from cause
    has_alpha = any(component.is_alpha for component in frame.format.components)
    return Still(pixels[..., :3].copy(), pixels[..., 3].copy() if has_alpha else None)


def middle_square(pixels: Pixels) -> Pixels:
    """(H, W, 3) -> its middle square, a view; of an odd margin the smaller half is cut off at the top or left."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def at_rows(rgb: Pixels, rows: int, width: int | None = None) -> Pixels:
    """Pixels (H, W, 3) resized to this many rows, at their own aspect unless `width` is given; as they are if equal."""
    height, across = rgb.shape[:2]
    size = (width or max(1, round(across * rows / height)), rows)
    if (across, height) == size:
        return rgb
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def encode_still(
    path: Path, still: Still, *, quality: int = 95, mark: str | None = None, strip_metadata: bool = False
) -> None:
    """Write `still` in the format of the suffix of `path`, whole or not at all.

    JPEG and WebP at `quality`, JPEG with full chroma (4:4:4); PNG at its fastest level, because a 720p PNG costs more
    time than the network. `mark` says in the file's metadata what made the picture; it stays when the rest of
    the metadata is stripped. Raises `BadInput` where the place cannot be written, or the format cannot hold it.
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
        if len(marked_exif(still.exif, mark)) > MOST_JPEG_EXIF:  # drop what cannot be held, keep the mark
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
    except (OSError, ValueError) as error:  # too large for the format, above all: WebP ends at 16383 pixels
        raise BadInput(
            f"{path}: a picture of {image.width}x{image.height} does not fit this format ({error})."
        ) from error
    with writing(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def marked_exif(exif: bytes | None, mark: str | None) -> bytes:
    """The EXIF block with the mark in Software and ImageDescription."""
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
