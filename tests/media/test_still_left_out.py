"""What lies in a picture's file beside what is read is named, and damage in it costs no more than itself."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from gen.media import ifd
from gen.media.gif import XMP_END
from gen.media.images import decode_still, encode_still
from gen.media.still_metadata import auxiliary
from gen.media.tiff import write_tiff
from tests.media.test_images import gradient


def encoded(format: str, **options) -> bytes:
    held = BytesIO()
    Image.fromarray(gradient()).save(held, format, **options)
    return held.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def in_png(data: bytes) -> bytes:
    png = encoded("PNG")
    at = png.index(b"IDAT") - 4
    return png[:at] + data + png[at:]


def in_webp(kind: bytes, data: bytes) -> bytes:
    body = encoded("WEBP", xmp=b"<x/>")[8:] + kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def in_gif(name: bytes, data: bytes) -> bytes:
    gif = encoded("GIF")
    at = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    return gif[:at] + b"!\xff\x0b" + name + data + gif[at:]


def in_jpeg(*segments: tuple[int, bytes]) -> bytes:
    jpeg = encoded("JPEG", quality=95)
    extra = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments)
    return jpeg[:2] + extra + jpeg[2:]


C2PA_BOX = struct.pack(">I4s", 28, b"uuid") + bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + b"jumb"


@pytest.mark.parametrize(
    ("suffix", "data", "names"),
    [
        (".jpg", encoded("JPEG") + b"\0\0\0\x18ftypmp42", ["data behind the picture"]),
        (".jpg", encoded("JPEG", progressive=True) + b"PK\3\4", ["data behind the picture"]),
        (".jpg", encoded("JPEG") + bytes(4000) + b"\r\n", []),
        (".jpg", in_jpeg((0xE2, b"ICC_PROFILE\0\1\2half")), ["colour profile (incomplete)"]),
        (".png", encoded("PNG") + b"PK\3\4", ["data behind the picture"]),
        (".png", in_png(chunk(b"pHYs", struct.pack(">IIB", 2, 1, 0))), ["shape of the pixels (2:1)"]),
        (".png", in_png(chunk(b"tEXt", b"a\0b")[:-1] + b"?"), ["PNG chunk tEXt (damaged)"]),
        (".webp", in_webp(b"C2PA", b"jumb"), ["content credentials (C2PA)"]),
        (".webp", in_webp(b"GPSX", b"odd"), ["WebP chunk GPSX"]),
        (".webp", encoded("WEBP") + b"more", ["data behind the picture"]),
        (".gif", in_gif(b"ICCRGBG1012", b"\3abc\0"), ["colour profile"]),
        (".gif", in_gif(b"NETSCAPE2.0", b"\3\1\0\0\0"), []),
        (".gif", encoded("GIF") + b"more", ["data behind the picture"]),
        (".avif", encoded("AVIF") + C2PA_BOX, ["content credentials (C2PA)"]),
        (".avif", encoded("AVIF") + struct.pack(">I4s4s", 12, b"mpvd", b"clip"), ["clip of a motion photo"]),
    ],
)
def test_what_is_not_read_is_named(tmp_path, suffix, data, names):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(data)
    still = decode_still(path)
    assert list(still.left_out) == names
    assert np.abs(still.rgb.astype(int) - gradient()).mean() < 8


def test_what_phones_put_beside_a_heic():
    found = {"depth_images": [object()], "aux": {"urn:com:apple:photo:2020:aux:hdrgainmap": [5], "urn:x": [6]}}
    assert auxiliary(found) == ["depth map", "HDR gain map", "auxiliary picture (urn:x)"]
    assert auxiliary({"depth_images": [], "aux": {}}) == []


def test_the_xmp_of_a_gif(tmp_path):
    (tmp_path / "a.gif").write_bytes(in_gif(b"XMP DataXMP", b"<x:xmpmeta/>" + XMP_END))
    still = decode_still(tmp_path / "a.gif")
    assert (still.metadata.xmp, still.left_out) == (b"<x:xmpmeta/>", ())


def test_exif_of_a_png_with_the_header_that_jpeg_has(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "Cam", 6
    (tmp_path / "a.png").write_bytes(in_png(chunk(b"eXIf", b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0"))))
    still = decode_still(tmp_path / "a.png")
    assert ifd.read_exif(still.exif or b"").text(271) == "Cam"
    assert still.rgb.shape[:2] == gradient().shape[1::-1]


@pytest.mark.parametrize("key", ["exif", "APP1"])
def test_exif_in_the_text_of_a_png(tmp_path, key):
    """As ImageMagick and ExifTool wrote it before PNG had a chunk for it."""
    exif, text = Image.Exif(), PngInfo()
    exif[ExifTags.Base.Make] = "Cam"
    data = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    text.add_text(f"Raw profile type {key}", f"\n{key}\n{len(data):8d}\n{data.hex()}\n", zip=True)
    text.add_text("Title", "kept")
    Image.fromarray(gradient()).save(tmp_path / "a.png", pnginfo=text)
    still = decode_still(tmp_path / "a.png")
    assert ifd.read_exif(still.exif or b"").text(271) == "Cam"
    assert still.metadata.text == (("Title", "kept"),)


def test_xmp_in_the_text_of_a_png_stays_text(tmp_path):
    text = PngInfo()
    text.add_text("Raw profile type APP1", f"\nAPP1\n       4\n{b'<x/>'.hex()}\n")
    Image.fromarray(gradient()).save(tmp_path / "a.png", pnginfo=text)
    assert [key for key, _ in decode_still(tmp_path / "a.png").metadata.text] == ["Raw profile type APP1"]


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize(("orientation", "dpi"), [(3, (204, 98)), (6, (98, 204))])
def test_resolution_turns_with_the_picture(tmp_path, suffix, orientation, dpi):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.ResolutionUnit] = orientation, 2
    exif[ExifTags.Base.XResolution], exif[ExifTags.Base.YResolution] = 204.0, 98.0
    Image.fromarray(gradient()).save(tmp_path / f"a{suffix}", exif=exif, dpi=(204, 98))
    encode_still(tmp_path / f"b{suffix}", decode_still(tmp_path / f"a{suffix}"))
    with Image.open(tmp_path / f"b{suffix}") as image:
        tags = image.getexif()
        assert (tags[ExifTags.Base.XResolution], tags[ExifTags.Base.YResolution]) == dpi
        assert image.info["dpi"] == dpi


def test_further_channels_and_reduced_pages_of_a_tiff(tmp_path):
    tags = ifd.Directory()
    tags.put(254, ifd.LONG, 1)
    tags.put_bytes(ifd.C2PA, b"jumb")
    write_tiff(tmp_path / "a.tif", gradient(), gradient()[..., 0], tags)
    data = (tmp_path / "a.tif").read_bytes()
    near_infrared = data.replace(struct.pack("<HHIH", 338, 3, 1, 2), struct.pack("<HHIH", 338, 3, 1, 0))
    (tmp_path / "a.tif").write_bytes(near_infrared)
    still = decode_still(tmp_path / "a.tif")
    assert still.left_out == ("1 further channel", "content credentials (C2PA)")
    assert still.warnings == ("The first page is marked as a smaller copy of another one.",)
    assert np.array_equal(still.rgb, gradient())
