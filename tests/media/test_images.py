"""Stills of every kind in and out: what a camera, a phone, a scanner or a web page writes."""

import os
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms

from gen import BadInput
from gen.media.files import write_atomically
from gen.media.images import Still, decode_still, encode_still
from gen.translation.maps import (
    RawMaps,
    colour_uncertainty,
    decode_uncertainty_raw,
    encode_uncertainty_raw,
    overlay_uncertainty,
)

pictures = hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3)))


def gradient(height: int = 24, width: int = 40) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1).astype(np.uint8)


@given(pictures, st.sampled_from([".png", ".bmp", ".tif"]), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lossless_formats_round_trip(tmp_path, rgb, suffix, with_alpha):
    alpha = rgb[..., 0].copy() if with_alpha else None
    encode_still(tmp_path / f"x{suffix}", Still(rgb, alpha))
    found = decode_still(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(found.rgb, rgb)
    if with_alpha and suffix != ".bmp":
        np.testing.assert_array_equal(found.alpha, alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_are_close(tmp_path, suffix):
    encode_still(tmp_path / f"x{suffix}", Still(gradient()))
    assert np.abs(decode_still(tmp_path / f"x{suffix}").rgb.astype(int) - gradient()).mean() < 3


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_full_chroma_is_kept(tmp_path, suffix):
    """Red and blue columns, one pixel wide, survive 4:4:4 and would not survive 4:2:0."""
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 255
    encode_still(tmp_path / f"x{suffix}", Still(stripes))
    assert np.abs(decode_still(tmp_path / f"x{suffix}").rgb.astype(int) - stripes).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turn_is_applied_and_gps_kept(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "dash cam"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 30.0, 0.0)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # ImageOps' own table, inverted by hand
    stored = Image.fromarray(gradient())
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    stored.save(tmp_path / "x.png", exif=exif)
    still = decode_still(tmp_path / "x.png")
    np.testing.assert_array_equal(still.rgb, gradient())
    encode_still(tmp_path / "y.jpg", still, mark="made")
    kept = Image.open(tmp_path / "y.jpg").getexif()
    assert kept.get(ExifTags.Base.Orientation, 1) == 1
    assert kept[ExifTags.Base.Make] == "dash cam"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == (52.0, 30.0, 0.0)
    assert kept[ExifTags.Base.ImageDescription] == "made"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_stripped_metadata_leaves_only_the_mark(tmp_path, suffix):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "dash cam"
    still = Still(gradient(), exif=exif.tobytes(), icc=b"profile")
    encode_still(tmp_path / f"x{suffix}", still, mark="made by gen", strip_metadata=True)
    with Image.open(tmp_path / f"x{suffix}") as found:
        assert ExifTags.Base.Make not in found.getexif()
        assert found.getexif()[ExifTags.Base.ImageDescription] == "made by gen"
        assert "icc_profile" not in found.info


def test_exif_too_large_for_a_jpeg_is_dropped_and_the_mark_kept(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.MakerNote] = b"x" * 70_000
    encode_still(tmp_path / "x.jpg", Still(gradient(), exif=exif.tobytes()), mark="made by gen")
    assert Image.open(tmp_path / "x.jpg").getexif()[ExifTags.Base.ImageDescription] == "made by gen"


def test_16_bit_grey_is_scaled_and_not_cut(tmp_path):
    values = np.linspace(0, 65535, 24 * 40).reshape(24, 40).astype(np.uint16)
    for name in ("x.png", "x.tif"):
        Image.fromarray(values).save(tmp_path / name)
        found = decode_still(tmp_path / name).rgb
        np.testing.assert_allclose(found[..., 0], values / 257, atol=0.51)
        np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_16_bit_colour(tmp_path):
    """Written by ffmpeg, because Pillow has no such mode."""
    import av

    values = gradient().astype(np.uint16) * 257
    for name, codec in (("x.png", "png"), ("x.tif", "tiff")):
        encoder = av.CodecContext.create(codec, "w")
        encoder.width, encoder.height, encoder.pix_fmt = 40, 24, "rgb48be" if codec == "png" else "rgb48le"
        encoder.time_base = 1
        frame = av.VideoFrame.from_ndarray(values, format="rgb48le").reformat(format=encoder.pix_fmt)
        (tmp_path / name).write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))
        assert np.abs(decode_still(tmp_path / name).rgb.astype(int) - gradient()).max() <= 1


def test_16_bit_colour_tiff_keeps_its_alpha(tmp_path):
    import av

    alpha = np.linspace(0, 65535, 24 * 40).reshape(24, 40, 1).astype(np.uint16)
    values = np.concatenate([gradient().astype(np.uint16) * 257, alpha], axis=-1)
    encoder = av.CodecContext.create("tiff", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 40, 24, "rgba64le", 1
    frame = av.VideoFrame.from_ndarray(values, format="rgba64le")
    (tmp_path / "x.tif").write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))
    still = decode_still(tmp_path / "x.tif")
    assert np.abs(still.rgb.astype(int) - gradient()).max() <= 1
    np.testing.assert_allclose(still.alpha, alpha[..., 0] / 257, atol=1)


def test_float_grey_is_taken_from_0_to_1(tmp_path):
    values = np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)
    Image.fromarray(values).save(tmp_path / "x.tif")
    np.testing.assert_allclose(decode_still(tmp_path / "x.tif").rgb[..., 1], values * 255, atol=0.51)


@pytest.mark.parametrize(("space", "kept"), [(b"RGB ", True), (b"GRAY", False), (b"CMYK", False)])
def test_only_a_profile_of_rgb_goes_with_the_rgb(tmp_path, space, kept):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = space  # ICC.1, 7.2: data colour space
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", icc_profile=bytes(profile))
    assert (decode_still(tmp_path / "x.jpg").icc == bytes(profile)) == kept
    encode_still(tmp_path / "y.jpg", decode_still(tmp_path / "x.jpg"))
    with Image.open(tmp_path / "y.jpg") as found:
        assert ("icc_profile" in found.info) == kept


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "LA", "RGBA"])
def test_colour_modes(tmp_path, mode):
    picture = Image.fromarray(gradient()).convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    picture.save(path)
    still = decode_still(path)
    np.testing.assert_array_equal(still.rgb, np.asarray(picture.convert("RGB")))
    assert (still.alpha is not None) == (mode in ("LA", "RGBA"))


def test_cmyk_jpeg(tmp_path):
    Image.fromarray(gradient()).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    assert np.abs(decode_still(tmp_path / "x.jpg").rgb.astype(int) - gradient()).mean() < 4


@pytest.mark.parametrize("problem", ["empty", "garbage", "truncated", "missing", "folder"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_unreadable_files_are_named(tmp_path, problem, suffix):
    path = tmp_path / f"broken{suffix}"
    if problem == "folder":
        path.mkdir()
    elif problem != "missing":
        encode_still(path, Still(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "garbage": b"no picture", "truncated": whole[: len(whole) // 2]}[problem])
    with pytest.raises(BadInput, match=f"broken{suffix}"):
        decode_still(path)


@pytest.mark.parametrize(
    "text", ["<html>404 Not Found</html>" * 20, "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_picture_is_not_taken_for_one(tmp_path, text):
    """A page saved under a picture's name, and a program that a careless decoder would run."""
    (tmp_path / "x.jpg").write_text(text)
    with pytest.raises(BadInput, match=r"x\.jpg: not an image"):
        decode_still(tmp_path / "x.jpg")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_any_damage_gives_a_picture_or_a_sentence(tmp_path, suffix):
    """Bytes changed in the headers: what Pillow raises on them is of many kinds."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "dash cam", 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExposureTime] = (1, 3)
    path = tmp_path / f"x{suffix}"
    Image.fromarray(gradient()).save(path, exif=exif)
    whole = path.read_bytes()
    read = 0
    refused: list[str] = []
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            damaged[rng.integers(0, min(len(whole), 400))] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            still = decode_still(path)
        except BadInput as error:
            refused.append(str(error))
            continue
        assert still.rgb.dtype == np.uint8
        assert still.rgb.ndim == 3
        read += 1
        if still.rgb.size < 1e6:  # a changed header may ask for any size
            encode_still(tmp_path / "copy.png", still, mark="made")
    assert read > 0
    assert refused
    assert all(str(path) in sentence for sentence in refused)


def write_with_broken_exif(path: Path) -> None:
    """A turned picture whose EXIF Pillow can read and not write back: a compression of 131072 in 16 bits."""
    compression, orientation = b"\1\3\0\4\0\0\0\1\0\2\0\0", b"\1\x12\0\3\0\0\0\1\0\6\0\0"
    directory = b"\0\2" + compression + orientation + b"\0\0\0\0"
    Image.fromarray(gradient()).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08" + directory)


def test_a_picture_with_broken_exif_is_still_a_picture(tmp_path):
    write_with_broken_exif(tmp_path / "x.png")
    still = decode_still(tmp_path / "x.png")
    np.testing.assert_array_equal(still.rgb, np.rot90(gradient(), -1))
    assert still.exif is None
    encode_still(tmp_path / "y.jpg", still, mark="made")


def test_a_picture_too_large_for_its_format_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"x\.webp.*16384x4"):
        encode_still(tmp_path / "x.webp", Still(np.zeros((4, 16384, 3), np.uint8)))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BadInput, match="cannot be written"):
        encode_still(tmp_path / "file" / "x.png", Still(gradient()))


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "x.txt").write_text("old")

    def interrupted():
        with write_atomically(tmp_path / "x.txt") as partial:
            partial.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["x.txt"]
    assert (tmp_path / "x.txt").read_text() == "old"


@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(0, 255, width=32)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_raw_uncertainty_round_trips_to_a_256th(tmp_path, scale):
    encode_uncertainty_raw(tmp_path / "x.png", scale)
    np.testing.assert_allclose(decode_uncertainty_raw(tmp_path / "x.png"), scale, atol=1 / 512 + 1e-4)


def test_raw_maps_of_a_clip_are_one_file(tmp_path):
    from zipfile import ZipFile

    maps = [np.full((4, 6), 12.75 + i, np.float32) for i in range(3)]
    with RawMaps(tmp_path / "x.zip") as sink:
        for scale in maps:
            sink.write(scale)
    with ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == ["000000.png", "000001.png", "000002.png"]
        with archive.open("000002.png") as file:
            np.testing.assert_allclose(decode_uncertainty_raw(file), maps[2])


def test_the_colour_scale_is_fixed():
    low, high = (np.full((2, 2), v, np.float32) for v in (12.75, 127.5))
    together = colour_uncertainty(np.concatenate([low, high]))
    np.testing.assert_array_equal(together[:2], colour_uncertainty(low))
    assert together[3].sum() > 2 * together[0].sum()  # plasma: dark blue to yellow
    np.testing.assert_array_equal(colour_uncertainty(high), colour_uncertainty(high * 3))


def test_overlay_leaves_certain_places_untouched():
    scale = np.full((24, 40), 12.75, np.float32)
    scale[:, 20:] = 100
    tinted = overlay_uncertainty(gradient(), scale)
    np.testing.assert_array_equal(tinted[:, :20], gradient()[:, :20])
    assert np.abs(tinted[:, 20:].astype(int) - gradient()[:, 20:]).mean() > 20


def test_a_jpeg_whose_data_are_damaged_says_so(tmp_path):
    """Pillow decodes what it can, and leaves the rest green without a word."""
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)).save(whole, quality=90)
    data = whole.read_bytes()
    assert not decode_still(whole).warnings
    for name, damaged in {
        "zeros at the end": data[: len(data) * 2 // 3] + bytes(len(data) // 3),
        "zeros inside": data[: len(data) // 2] + bytes(600) + data[len(data) // 2 + 600 :],
    }.items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(damaged)
        still = decode_still(path)
        assert still.rgb.shape == (120, 160, 3)
        assert any("The JPEG data are damaged" in sentence for sentence in still.warnings), name
    junk = tmp_path / "junk behind.jpg"
    junk.write_bytes(data + bytes(1000))
    assert not any("damaged" in sentence for sentence in decode_still(junk).warnings)
