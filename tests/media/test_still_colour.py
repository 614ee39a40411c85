"""Colours: what a viewer that manages colours shows of the source is what the pixels hold; conversions are named."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from gen.media.colorimetry import HLG, PQ
from gen.media.images import Still, decode_still, encode_still
from tests.media.test_images import gradient

BARS = np.repeat(np.array([[64, 64, 64], [128, 128, 128], [255, 48, 32], [240, 240, 240]], np.uint8)[None], 8, 0)
"""The panels of ../shared/cases/hdr, in sRGB."""


def hdr_signal(srgb: np.ndarray, transfer: int) -> np.ndarray:
    """sRGB -> PQ or HLG of BT.2020 with white at 203 cd/m2, by formulas of ITU-R BT.2100 and BT.2087."""
    signal = srgb / 255
    light = np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)
    light = light @ np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]).T * 203
    if transfer == PQ:
        power = (light / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light / 1000 * (np.maximum(luminance, 1e-9)[..., None] / 1000) ** (1 / 1.2 - 1)
    curve = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), curve)


@pytest.mark.parametrize("transfer", [PQ, HLG])
@pytest.mark.parametrize("suffix", [".png", ".avif"])
def test_hdr_is_shown_as_sdr_with_a_note(tmp_path, suffix, transfer):
    signal = Image.fromarray(np.round(255 * hdr_signal(BARS, transfer)).astype(np.uint8).repeat(8, 1))
    path = tmp_path / f"x{suffix}"
    if suffix == ".png":
        info = PngInfo()
        info.add(b"cICP", bytes([9, transfer, 0, 1]))
        signal.save(path, pnginfo=info)
    else:
        signal.save(path, quality=100, subsampling="4:4:4")
        data = path.read_bytes()
        place = data.index(b"colrnclx") + 8
        path.write_bytes(data[:place] + struct.pack(">HH", 9, transfer) + data[place + 4 :])
    still = decode_still(path)
    np.testing.assert_allclose(still.rgb, BARS.repeat(8, 1), atol=8)
    assert any("HDR" in sentence and "203 cd/m2" in sentence for sentence in still.warnings)


def test_wide_gamut_by_number_is_converted(tmp_path):
    """Display P3 without a profile: its red is outside sRGB, and a grey stays what it is."""
    info = PngInfo()
    info.add(b"cICP", bytes([12, 13, 0, 1]))
    Image.fromarray(np.array([[[200, 50, 50], [90, 90, 90]]], np.uint8)).save(tmp_path / "x.png", pnginfo=info)
    still = decode_still(tmp_path / "x.png")
    assert still.rgb[0, 0, 0] > 210
    np.testing.assert_allclose(still.rgb[0, 1], 90, atol=1)
    assert still.warnings == ("Wide-gamut colours were converted to sRGB.",)


def grey_profile(gamma: float) -> bytes:
    """An ICC profile of grey with a power law; ICC.1, 8.3 and 10.6."""
    curve = b"curv" + struct.pack(">II", 0, 1) + struct.pack(">H", round(gamma * 256)) + b"\0\0"
    white = b"XYZ " + struct.pack(">I3i", 0, 63190, 65536, 54061)
    text = b"desc" + struct.pack(">II", 0, 2) + b"g\0" + bytes(4 + 4 + 2 + 1 + 67)
    text += b"\0" * (-len(text) % 4)
    parts, table, at = [(b"kTRC", curve), (b"wtpt", white), (b"desc", text)], b"", 128 + 4 + 36
    for name, data in parts:
        table += name + struct.pack(">II", at, len(data))
        at += len(data)
    head = struct.pack(">I4xI4s4s4s12s4s", at, 0x02100000, b"mntr", b"GRAY", b"XYZ ", bytes(12), b"acsp")
    head += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", 3) + table + b"".join(data for _, data in parts)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_grey_profile_is_applied(tmp_path, suffix):
    values = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))
    Image.fromarray(values).save(tmp_path / f"x{suffix}", icc_profile=grey_profile(1.0))
    still = decode_still(tmp_path / f"x{suffix}")
    light = values / 255
    wanted = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(still.rgb[:, 4:, 1], wanted[:, 4:], atol=4)  # near black, 8 bits of light are too few
    assert still.icc is None
    assert "Grey values" in still.warnings[0]


@pytest.mark.parametrize("profile", [b"damaged", ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_that_does_not_fit_is_named(tmp_path, mode, profile):
    picture = Image.fromarray(gradient()).convert(mode)
    picture.save(tmp_path / "x.jpg", icc_profile=profile, quality=100)
    still = decode_still(tmp_path / "x.jpg")
    assert still.left_out == ("colour profile that does not fit the pixels",)
    assert still.icc is None
    assert np.abs(still.rgb.astype(int) - np.asarray(picture.convert("RGB"))).mean() < 2


def test_pixels_without_their_profile_are_converted(tmp_path):
    """BMP and stripped files hold no profile, so that their pixels must be sRGB."""
    wide = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = wide.index(b"rXYZ"), wide.index(b"gXYZ")
    wide[red : red + 4], wide[green : green + 4] = b"gXYZ", b"rXYZ"  # a space whose first colour is green
    still = Still(np.full((4, 4, 3), (200, 10, 10), np.uint8), icc=bytes(wide))
    for name, options in (("x.bmp", {}), ("x.png", {"strip_metadata": True})):
        assert encode_still(tmp_path / name, still, **options) == ()
        with Image.open(tmp_path / name) as found:
            np.testing.assert_allclose(np.asarray(found)[0, 0], (10, 200, 10), atol=3)
    encode_still(tmp_path / "y.png", still)
    assert decode_still(tmp_path / "y.png").icc == bytes(wide)


def test_cmyk_jpeg_of_adobe(tmp_path):
    """Adobe stores the inks inverted; Pillow writes it so as well. The picture and not its negative is read."""
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "x.jpg").read_bytes()
    still = decode_still(tmp_path / "x.jpg")
    assert np.abs(still.rgb.astype(int) - gradient()).mean() < 4
    assert "CMYK" in still.warnings[0]


def png(path: Path, depth: int, kind: int, row: bytes, transparent: bytes, width: int) -> None:
    """A PNG of one row, written by hand, with a tRNS chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, depth, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"tRNS", transparent) + body)


@pytest.mark.parametrize(
    ("depth", "row", "key", "alpha"),
    [
        (1, b"\x50", 0, (0, 255, 0, 255)),
        (2, b"\x1b", 2, (255, 255, 0, 255)),
        (4, b"\x05\xaf", 10, (255, 255, 0, 255)),
        (8, b"\0\x05\x0a\xff", 10, (255, 255, 0, 255)),
        (16, struct.pack(">4H", 0, 10, 2570, 65535), 2570, (255, 255, 0, 255)),
    ],
)
def test_the_transparent_value_of_a_grey_png(tmp_path, depth, row, key, alpha):
    png(tmp_path / "x.png", depth, 0, row, struct.pack(">H", key), 4)
    assert tuple(decode_still(tmp_path / "x.png").alpha[0]) == alpha


def test_a_transparent_16_bit_colour_is_named(tmp_path):
    png(tmp_path / "x.png", 16, 2, struct.pack(">6H", 257, 514, 771, 9, 9, 9), struct.pack(">3H", 257, 514, 771), 2)
    still = decode_still(tmp_path / "x.png")
    assert still.alpha is None
    assert "transparency of a single 16-bit colour" in still.left_out


def test_palettes_with_transparency(tmp_path):
    picture = Image.fromarray(gradient()).convert("P")
    picture.save(tmp_path / "x.png", transparency=bytes(range(256)))
    still = decode_still(tmp_path / "x.png")
    np.testing.assert_array_equal(still.rgb, np.asarray(picture.convert("RGB")))
    np.testing.assert_array_equal(still.alpha, np.asarray(picture))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_one_transparent_colour_of_a_palette(tmp_path, colours):
    """Few colours are stored in fewer bits, and the transparent one is an index all the same."""
    indices = np.arange(colours, dtype=np.uint8)[None]
    picture = Image.fromarray(indices, "L")
    picture.putpalette(bytes(np.repeat(indices[0], 3)))
    picture.save(tmp_path / "x.png", transparency=1)
    np.testing.assert_array_equal(decode_still(tmp_path / "x.png").alpha, np.where(indices == 1, 0, 255))


def test_gamma_goes_with_the_pixels_or_is_named(tmp_path):
    info = PngInfo()
    info.add(b"gAMA", struct.pack(">I", 100000))
    Image.fromarray(gradient()).save(tmp_path / "x.png", pnginfo=info)
    still = decode_still(tmp_path / "x.png")
    np.testing.assert_array_equal(still.rgb, gradient())
    assert encode_still(tmp_path / "y.png", still) == ()
    assert Image.open(tmp_path / "y.png").info["gamma"] == 1.0
    assert encode_still(tmp_path / "y.jpg", still) == ("PNG gamma and chromaticities",)


def test_transparency_that_a_format_cannot_hold_is_named(tmp_path):
    still = Still(gradient(), gradient()[..., 0])
    assert encode_still(tmp_path / "x.jpg", still) == ("transparency (JPEG cannot hold it)",)
    assert encode_still(tmp_path / "x.webp", still) == ()


@pytest.mark.parametrize(("top", "bits"), [(0xFFFF, None), (0x0FFF, 12), (0x03FF, 10), (0x00FF, 8)])
def test_colour_samples_that_use_few_of_their_bits_are_told(tmp_path, top, bits):
    """Pillow keeps the upper 8 of 16 bits, which are nearly black then; see the grey ones in test_tiff."""
    png(tmp_path / "a.png", 16, 2, struct.pack(">6H", 0, top, 0, top, 0, 0), bytes(6), 2)
    warnings = decode_still(tmp_path / "a.png").warnings
    assert warnings == (
        (f"The samples use at most {bits} of their 16 bits and were not stretched: the picture is dark.",)
        if bits
        else ()
    )
