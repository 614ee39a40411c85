"""Write pictures: each format holds what it can of the metadata, and what it cannot is named."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from gen.about import VERSION
from gen.errors import BadInput
from gen.media import ifd, jpeg
from gen.media.files import writing
from gen.media.ifd import Directory
from gen.media.still import Metadata, Still
from gen.media.still_colour import to_srgb
from gen.media.still_metadata import RAW_IPTC, drop_largest
from gen.media.tiff import write_tiff

STILL_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
} | ({".avif": "AVIF"} if features.check("avif") else {})
"""Suffix -> Pillow's name of the format, for all that are written."""

WITHOUT_ALPHA = ("JPEG", "BMP")
MAX_JPEG_EXIF = 65_000
"""Bytes; a JPEG segment holds at most 65,533."""
MAX_JPEG_XMP = jpeg.MAX_SEGMENT - len(jpeg.XMP)
AVIF_SPEED = 8
"""0 slow to 10 fast. 8 is three times as fast as the default, 6, and its files are a tenth larger."""


class Written(NamedTuple):
    """What goes into a file besides its pixels."""

    options: dict[str, Any]
    """For Pillow's `save`; empty for TIFF."""
    tags: Directory
    """EXIF, with the mark."""
    lost: list[str]
    """Names of what the format cannot hold."""


def encode_still(
    path: Path, still: Still, *, quality: int = 95, mark: str | None = None, strip_metadata: bool = False
) -> tuple[str, ...]:
    """Write `still` atomically in the format given by the suffix of `path`. Returns what the file lacks of `still`.

    JPEG, WebP and AVIF at `quality`, JPEG and AVIF with full chroma (4:4:4). PNG at its fastest level, because
    compressing a 720p PNG takes more time than the network. `mark`: a sentence for the file's metadata that says what
    made the image; it is kept even with `strip_metadata`, except in BMP, which holds no metadata. The file gets the
    time of the source's last change. Raises `BadInput` if `path` cannot be written or the format cannot hold the image.
    """
    format = STILL_FORMATS[path.suffix.lower()]
    lost: list[str] = []
    if still.icc and (strip_metadata or format == "BMP"):  # without their profile the pixels must be sRGB
        converted = to_srgb(still.rgb, still.icc)
        lost += ["colour profile"] if converted is None and not strip_metadata else []
        still = replace(still, rgb=still.rgb if converted is None else converted, icc=None)
    if strip_metadata:
        still = Still(still.rgb, still.alpha)
    if still.alpha is not None and format in WITHOUT_ALPHA:
        lost.append(f"transparency ({format} cannot hold it)")
        still = replace(still, alpha=None)
    written = _prepare(format, still, quality, mark)
    _write(path, still, format, written)
    return tuple(lost + written.lost)


def _write(path: Path, still: Still, format: str, written: Written) -> None:
    with writing(path) as target:
        try:
            if format == "TIFF":
                write_tiff(target, still.rgb, still.alpha, written.tags)
            else:
                image = Image.fromarray(still.rgb)
                if still.alpha is not None:
                    image.putalpha(Image.fromarray(still.alpha))
                image.save(target, format=format, **written.options)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk, not the encoder
                raise
            height, width = still.rgb.shape[:2]  # mostly too large for it: WebP allows 16383 pixels a side
            raise BadInput(f"{path}: an image of {width}x{height} cannot be saved in this format ({error}).") from error
        if still.metadata.modified_ns is not None:
            os.utime(target, ns=(still.metadata.modified_ns, still.metadata.modified_ns))


def _prepare(format: str, still: Still, quality: int, mark: str | None) -> Written:
    tags = ifd.read_exif(still.exif) if still.exif else Directory()
    written = Written({}, tags, [])
    metadata = _texts_elsewhere(format, still.metadata, written.lost)
    if format == "BMP":
        _prepare_bmp(metadata, bool(tags), mark, written)
        return written
    _put_size(tags, still)
    _put_mark(tags, mark, metadata.comment if format in ("WEBP", "AVIF", "TIFF") else None, written.lost)
    if metadata.dpi and format in ("WEBP", "AVIF") and ifd.X_RESOLUTION not in tags.fields:
        _put_dpi(tags, metadata.dpi)
    if metadata.xmp_extension and format != "JPEG":
        written.lost.append("extended XMP (only JPEG holds it)")
    if metadata.iptc and format in ("WEBP", "AVIF"):
        written.lost.append(f"IPTC ({format} cannot hold it)")
    kinds = {"JPEG": _prepare_jpeg, "PNG": _prepare_png, "TIFF": _prepare_tiff}
    kinds.get(format, _prepare_with_quality)(written, metadata, mark, quality)
    if format == "AVIF":
        written.options.update(subsampling="4:4:4", speed=AVIF_SPEED)
    if still.icc:
        written.options["icc_profile"] = still.icc
        tags.put_bytes(ifd.ICC, still.icc) if format == "TIFF" else None
    if format != "TIFF" and tags:
        written.options["exif"] = ifd.write_exif(tags)
    return written


def _texts_elsewhere(format: str, metadata: Metadata, lost: list[str]) -> Metadata:
    """PNG texts for other formats: the comment, or the description, becomes the comment; the others are lost."""
    if format == "PNG":
        return metadata
    texts = dict(metadata.text)
    comment = metadata.comment or texts.pop("Comment", None) or texts.pop("Description", None)
    if texts:
        lost.append(f"PNG text ({', '.join(sorted(texts))})")
    if metadata.png_colour:
        lost.append("PNG gamma and chromaticities")
    return replace(metadata, comment=comment)


def _prepare_bmp(metadata: Metadata, has_exif: bool, mark: str | None, written: Written) -> None:
    found = {"EXIF": has_exif, "XMP": metadata.xmp, "IPTC": metadata.iptc, "comment": metadata.comment}
    found["the note that gen made it"] = mark
    written.lost.extend(f"{name} (BMP cannot hold it)" for name, part in found.items() if part)
    written.options.update({"dpi": metadata.dpi} if metadata.dpi else {})


def _prepare_jpeg(written: Written, metadata: Metadata, mark: str | None, quality: int) -> None:
    extra = b""
    written.options.update(quality=quality, subsampling=0)
    if metadata.xmp and len(metadata.xmp) <= MAX_JPEG_XMP:
        written.options["xmp"] = metadata.xmp
        if metadata.xmp_extension and (guid := _guid(metadata.xmp)):
            extra += jpeg.xmp_extension_segments(metadata.xmp_extension, guid)
    elif metadata.xmp:
        written.lost.append("XMP (too long for JPEG)")
    if metadata.iptc:
        data = jpeg.PHOTOSHOP + jpeg.iptc_resource(metadata.iptc)
        extra += jpeg.segment(jpeg.APP13, data) if len(data) <= jpeg.MAX_SEGMENT else b""
        written.lost.extend(["IPTC (too long for JPEG)"] if len(data) > jpeg.MAX_SEGMENT else [])
    if metadata.comment:
        comment = metadata.comment.encode()
        extra += jpeg.segment(jpeg.COMMENT, comment[: jpeg.MAX_SEGMENT])  # Pillow's own fails above 64 kB
        written.lost.extend(["end of the comment (too long for JPEG)"] if len(comment) > jpeg.MAX_SEGMENT else [])
    if metadata.dpi:
        written.options["dpi"] = tuple(min(65535, round(v)) for v in metadata.dpi)
    written.options.update({"extra": extra} if extra else {})
    written.lost.extend(f"{name} (too long for JPEG)" for name in drop_largest(written.tags, MAX_JPEG_EXIF))


def _guid(xmp: bytes) -> bytes | None:
    """The name of the extended packet in the main one."""
    return found[1] if (found := jpeg.HAS_EXTENSION.search(xmp)) else None


def _prepare_png(written: Written, metadata: Metadata, mark: str | None, quality: int) -> None:
    chunks = PngInfo()
    for kind, data in metadata.png_colour:
        chunks.add(kind, data)
    texts = [*metadata.text, *([("Comment", metadata.comment)] if metadata.comment else [])]
    ours = dict(texts).get("Software", "").startswith("gen ")
    for key, text in texts:
        if mark and key in ("Software", "Description"):  # the mark takes this place
            if ours:
                continue
            key = f"Source {key}"
        chunks.add_text(key, text)
    if metadata.iptc:
        digits = jpeg.iptc_resource(metadata.iptc).hex()
        lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
        chunks.add_text(RAW_IPTC, "\n".join(["\niptc", f"{len(digits) // 2:8d}", *lines, ""]), zip=True)
    if metadata.xmp:
        chunks.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
    if mark:
        chunks.add_itxt("Software", f"gen {VERSION}")
        chunks.add_itxt("Description", mark)
    written.options.update(compress_level=1, pnginfo=chunks)
    written.options.update({"dpi": metadata.dpi} if metadata.dpi else {})


def _prepare_with_quality(written: Written, metadata: Metadata, mark: str | None, quality: int) -> None:
    """WebP and AVIF."""
    written.options.update(quality=quality)
    written.options.update({"xmp": metadata.xmp} if metadata.xmp else {})


def _prepare_tiff(written: Written, metadata: Metadata, mark: str | None, quality: int) -> None:
    if metadata.xmp:
        written.tags.put_bytes(ifd.XMP, metadata.xmp, ifd.BYTE)
    if metadata.iptc:
        written.tags.put_bytes(ifd.IPTC, metadata.iptc)
    if metadata.dpi:
        _put_dpi(written.tags, metadata.dpi)


def _put_size(tags: Directory, still: Still) -> None:
    """EXIF's own width and height, which a turn has swapped."""
    details = tags.children.get(ifd.EXIF, Directory())
    for tag, length in zip(ifd.PIXEL_DIMENSIONS, still.rgb.shape[1::-1], strict=True):
        if tag in details.fields:
            details.put(tag, ifd.LONG, length)


def _put_dpi(tags: Directory, dpi: tuple[float, float]) -> None:
    for tag, value in zip((ifd.X_RESOLUTION, ifd.Y_RESOLUTION), dpi, strict=True):
        tags.put(tag, ifd.RATIONAL, round(value * 10_000), 10_000)
    tags.put(ifd.RESOLUTION_UNIT, ifd.SHORT, 2)


def _put_mark(tags: Directory, mark: str | None, comment: str | None, lost: list[str]) -> None:
    """The mark in ImageDescription and gen's version in Software; what was there moves to UserComment."""
    before, software = tags.text(ifd.IMAGE_DESCRIPTION), tags.text(ifd.SOFTWARE)
    ours = software.startswith("gen ")
    if mark:
        tags.put_text(ifd.IMAGE_DESCRIPTION, mark)
        tags.put_text(ifd.SOFTWARE, f"gen {VERSION}" + (f" (source: {software})" if software and not ours else ""))
    texts = [before if mark and not ours else "", comment or ""]
    text = "\n".join(filter(None, texts))
    if not text:
        return
    details = tags.children.setdefault(ifd.EXIF, Directory(tags.order))
    if ifd.USER_COMMENT in details.fields:
        names = ("EXIF description (gen's mark takes its place)", "comment (EXIF has another one)")
        lost.extend(name for name, part in zip(names, texts, strict=True) if part)
        return
    encoding = "utf-16-le" if tags.order == "<" else "utf-16-be"
    data = b"ASCII\0\0\0" + text.encode() if text.isascii() else b"UNICODE\0" + text.encode(encoding)
    details.put_bytes(ifd.USER_COMMENT, data)
