"""What the files of pictures say besides the pixels: read it from every format, and name what is not kept."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, BinaryIO

from PIL import Image

from gen.media import gif, ifd, jpeg, webp
from gen.media.boxes import name_unread, read_boxes
from gen.media.png import read_chunks
from gen.media.still import Metadata

PREVIEW = "embedded preview"
XMP_UNTRUE = re.compile(
    rb"""\s?\b(?:tiff:Orientation|hdrgm:\w+|\w*Camera:(?:MotionPhoto|MicroVideo)\w*)\s*=\s*(?:"[^"]*"|'[^']*')"""
    rb"""|<(tiff:Orientation|hdrgm:\w+|\w*Camera:(?:MotionPhoto|MicroVideo)\w*|\w*Container:Directory)\b.{0,4000}?</\1\s*>""",
    re.S,
)
"""What an XMP packet says of the source alone: how it is turned, and what phones append to it (clips, gain maps)."""
XMP_CLIP = re.compile(rb"""(?:MotionPhoto|MicroVideo)\s*(?:=\s*["']|>)\s*[1-9]|Semantic\s*(?:=\s*["']|>)MotionPhoto""")
"""Not MotionPhoto="0", with which a phone says that there is no clip."""
RAW_IPTC, RAW_EXIF = "Raw profile type iptc", ("Raw profile type exif", "Raw profile type APP1")
"""Text chunks in which ImageMagick and ExifTool store what PNG has no place for."""

MAX_PPM_HEADER = 1 << 16
PPM_HEADER = re.compile(rb"P[1-6f](?:(?:\s|#[^\r\n]*[\r\n])+[^\s#]{1,20}){2,3}")
"""Width, height and, but in bitmaps, the largest value, with comments between them."""


@dataclass
class Found:
    """What is found in a file, before and while its pixels are decoded."""

    metadata: Metadata = field(default_factory=Metadata)
    exif: bytes | None = None
    icc: bytes | None = None
    """Colour profile of a TIFF."""
    cicp: tuple[int, int] | None = None
    """Colour primaries and transfer function by their numbers in ITU-T H.273."""
    depth: int = 8
    """Bits of a sample."""
    damaged: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Parts of a PNG that are not to be read; see `png.Chunks`."""
    frames: int | None = None
    """Number of frames or pages; None if Pillow is to count them."""
    left_out: list[str] = field(default_factory=list[str])


def read_before(format: str, file: BinaryIO) -> Found:
    """Read what Pillow does not tell, before it opens the file. Raises ValueError if this is not such a file."""
    found = Found()
    if format == "JPEG":
        segments = jpeg.read_segments(file)
        found.metadata = Metadata(segments.xmp, segments.xmp_extension, segments.iptc, segments.comment)
        found.left_out += segments.left_out
    elif format == "PNG":
        chunks = read_chunks(file)
        found.depth, found.cicp, found.damaged = chunks.depth, chunks.cicp, chunks.damaged
        found.metadata = Metadata(png_colour=chunks.colour)
        found.left_out += chunks.left_out
    elif format == "GIF":
        blocks = gif.read_blocks(file)
        found.frames, found.metadata = blocks.frames, Metadata(blocks.xmp)
        found.left_out += blocks.left_out
    elif format == "WEBP":
        found.left_out += webp.name_unread(file)
    elif format == "BMP":
        found.left_out += ["colour profile"] if _is_profiled_bmp(file) else []
    elif format == "PPM" and not PPM_HEADER.match(file.read(MAX_PPM_HEADER)):
        raise ValueError("no size in its first lines")
    elif format in ("AVIF", "HEIF"):
        found.cicp, found.depth = read_boxes(file)
        found.left_out += name_unread(file)
    return found


def _is_profiled_bmp(file: BinaryIO) -> bool:
    """Whether a BMP holds or names a colour profile, which Pillow does not read."""
    file.seek(14)
    header = file.read(60)
    return header[:1] == b"|" and header[56:60] in (b"DEBM", b"KNIL")  # a header of 124 bytes; MBED and LINK


def read_after(found: Found, image: Image.Image, file: BinaryIO, turned: bool) -> None:
    """Add to `found` what is known once `image` is loaded. `turned`: whether width and height will be swapped."""
    info: dict[Any, Any] = image.info
    kept = found.metadata
    text = _png_text(image) if image.format == "PNG" else ()
    comment = kept.comment or _as_text(info.get("comment")) or None
    iptc = kept.iptc or _raw_iptc(dict(text).get(RAW_IPTC, ""))
    directory, damaged = _exif_of(image, file)
    xmp = kept.xmp or info.get("xmp")
    if directory:  # in a TIFF these are tags as well
        in_resources, names = jpeg.read_resources(_take(directory, ifd.PHOTOSHOP) or b"")
        iptc = iptc or _take(directory, ifd.IPTC) or in_resources
        xmp = xmp or _take(directory, ifd.XMP)
        found.icc = _take(directory, ifd.ICC)
        damaged += names
        for tag in (ifd.IPTC, ifd.XMP):
            directory.fields.pop(tag, None)
        if directory.fields.pop(ifd.C2PA, None):  # true of the source alone
            damaged.append("content credentials (C2PA)")
        if turned:
            directory.swap(ifd.X_RESOLUTION, ifd.Y_RESOLUTION)
    measured = info.get("jfif_unit") or image.format not in ("JPEG", "MPO", "TIFF")  # else Pillow makes one up
    dpi = info.get("dpi") if measured or (directory and ifd.X_RESOLUTION in directory.fields) else None
    found.metadata = replace(
        kept,
        xmp=XMP_UNTRUE.sub(b"", xmp) if isinstance(xmp, bytes) else None,
        iptc=iptc or None,
        comment=comment,
        text=tuple((key, value) for key, value in text if not _is_read(key, value)),
        dpi=_dpi(dpi, turned),
    )
    found.left_out += damaged + _hidden_parts(xmp if isinstance(xmp, bytes) else b"") + _pixel_shape(info)
    found.left_out += auxiliary(info)
    found.exif = ifd.write_exif(directory) if directory else None


def _png_text(image: Image.Image) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in getattr(image, "text", {}).items())


def _as_text(value: object) -> str:
    text = ifd.read_text(value) if isinstance(value, bytes) else value
    return text.strip("\0 \n") if isinstance(text, str) else ""


def _raw_iptc(text: str) -> bytes | None:
    data = _raw_profile(text)
    return (jpeg.read_resources(data)[0] or data) or None


def _raw_profile(text: str) -> bytes:
    """The content of a "Raw profile": a name, a length, and hexadecimal digits, each in lines of their own."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _is_read(key: str, text: object) -> bool:
    """Whether a text of a PNG is read as something else. APP1, the segment of a JPEG, holds EXIF or XMP."""
    if key == RAW_EXIF[1]:
        return isinstance(text, str) and _raw_profile(text).startswith(jpeg.EXIF)
    return isinstance(text, str) and key in (RAW_IPTC, RAW_EXIF[0], "XML:com.adobe.xmp")


def _exif_of(image: Image.Image, file: BinaryIO) -> tuple[ifd.Directory | None, list[str]]:
    """The EXIF directories, or the tags of a TIFF, without its structure; and what is not kept of them."""
    block = image.info.get("exif")
    raw = [image.info[key] for key in RAW_EXIF if _is_read(key, image.info.get(key))]
    if block is None and raw:
        block = _raw_profile(raw[0]) or b"damaged"
    if image.format != "TIFF" and not block:
        return None, []
    try:
        directory = ifd.read_directory(file) if image.format == "TIFF" else ifd.read_exif(block or b"")
    except ValueError:
        return None, ["EXIF (damaged)"]
    names = ["EXIF tags (damaged)"] if directory.damaged else []
    if image.format != "TIFF" and directory.pages > 1:
        names.append(PREVIEW)
    details = directory.children.get(ifd.EXIF, ifd.Directory())
    if ifd.MAKER_NOTE in details.fields and details.fields[ifd.MAKER_NOTE].place > ifd.MAX_GAP:
        del details.fields[ifd.MAKER_NOTE]
        names.append(f"{EXIF_NAMES[ifd.MAKER_NOTE]} (it stands too far behind for its offsets to stay true)")
    return directory, names


def _take(directory: ifd.Directory, tag: int) -> bytes | None:
    """Remove a tag from the directory, and return its bytes."""
    found = directory.fields.pop(tag, None)
    return found.data if found else None


def auxiliary(info: Mapping[Any, Any]) -> list[str]:
    """Pictures that a HEIC holds beside its main one, as pillow-heif tells them; previews are not worth naming."""
    maps = ["HDR gain map" if "gainmap" in kind else f"auxiliary picture ({kind})" for kind in info.get("aux") or ()]
    return (["depth map"] if info.get("depth_images") else []) + maps


def _pixel_shape(info: Mapping[Any, Any]) -> list[str]:
    """Width and height of a pixel without a unit, which a JPEG or PNG may have instead of a resolution."""
    shape = info.get("aspect") or (info.get("jfif_density") if info.get("jfif_unit") == 0 else None)
    return [f"shape of the pixels ({shape[0]}:{shape[1]})"] if shape and shape[0] != shape[1] else []


def _dpi(value: object, turned: bool) -> tuple[float, float] | None:
    try:
        across, down = (float(v) for v in value)  # pyright: ignore[reportGeneralTypeIssues]  # checked by trying
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    across, down = (down, across) if turned else (across, down)
    return (across, down) if all(isfinite(v) and 0.1 < v < 1e5 for v in (across, down)) else None


def _hidden_parts(xmp: bytes) -> list[str]:
    """Parts of the file that its XMP packet speaks of, and that no reader of stills sees."""
    clip = ["clip of a motion photo"] if XMP_CLIP.search(xmp) else []
    return clip + (["HDR gain map"] if b"hdrgm:Version" in xmp else [])


def further_frames(image: Image.Image, count: int | None) -> list[str]:
    """The frames or pages after the first one, as an entry of `left_out`. `count`: of all, None to count them."""
    if count is not None:
        return _further(count - 1, "page" if image.format == "TIFF" else "frame")
    try:
        count = int(getattr(image, "n_frames", 1)) - 1
    except Exception:  # decoders of damaged files raise anything; the first frame is fine
        return ["further frames (damaged)"]
    return _further(count, "picture" if image.format in ("MPO", "HEIF") else "frame")


def _further(count: int, kind: str) -> list[str]:
    return [f"{count} further {kind}{'s' if count > 1 else ''}"] if count > 0 else []


def drop_largest(directory: ifd.Directory, most: int) -> list[str]:
    """Remove the longest values of EXIF directories until they have at most `most` bytes; returns their names."""
    names: list[str] = []
    while len(ifd.write_exif(directory)) > most and (found := ifd.largest_field(directory)):
        where, tag = found
        del where.fields[tag]
        names.append(EXIF_NAMES.get(tag, f"EXIF tag {tag}"))
    return names


EXIF_NAMES = {
    ifd.MAKER_NOTE: "EXIF maker note",
    ifd.USER_COMMENT: "EXIF user comment",
    ifd.IMAGE_DESCRIPTION: "EXIF description",
}
