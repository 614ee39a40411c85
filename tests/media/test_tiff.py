"""TIFF files of every layout: read as an independent reader reads them, or refused; never wrong."""

import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, ImageOps

from gen import BadInput
from gen.media import ifd
from gen.media.images import Still, decode_still, encode_still
from tests.media.identity import translate_unchanged
from tests.media.test_images import gradient

FULL = {"u1": 255, "u2": 65535, "u4": 2**32 - 1, "f4": 1, "f8": 1}


def sampled(share: np.ndarray, kind: str) -> np.ndarray:
    """Shares of white, 0..1, as samples of a type."""
    if kind[0] == "f":
        return share.astype(kind)
    scaled = (
        share * (2.0 ** (8 * int(kind[1])) - 1) if kind[0] == "u" else (share - 0.5) * 2.0 ** (8 * int(kind[1])) * 0.99
    )
    return np.round(scaled).astype(kind)


@given(
    photometric=st.sampled_from(["minisblack", "miniswhite", "rgb", "separated"]),
    kind=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "f2", "f4", "f8"]),
    order=st.sampled_from("<>"),
    planar=st.sampled_from(["contig", "separate"]),
    alpha=st.sampled_from([None, None, "assocalpha", "unassalpha"]),
    packed=st.sampled_from([{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}]),
    tile=st.sampled_from([None, (16, 16)]),
    big=st.booleans(),
    orientation=st.integers(1, 8),
)
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_read_is_what_was_written(
    tmp_path, photometric, kind, order, planar, alpha, packed, tile, big, orientation
):
    rgb = gradient() / 255
    grey = rgb.mean(axis=-1, keepdims=True)
    stored = {"rgb": rgb, "minisblack": grey, "miniswhite": 1 - grey}.get(photometric)
    if stored is None:
        stored = np.concatenate([1 - rgb, 0 * grey], axis=-1)
    opacity = np.linspace(0.2, 1, rgb.shape[1]) + 0 * grey[..., 0]
    if alpha:
        stored = np.concatenate([stored * (opacity[..., None] if alpha == "assocalpha" else 1), opacity[..., None]], -1)
    samples = sampled(stored, kind)
    options = {"planarconfig": planar} if samples.shape[-1] > 1 else {}
    samples = np.moveaxis(samples, -1, 0) if options and planar == "separate" else np.squeeze(samples)
    options |= {"tile": tile} if tile else {}
    options |= {"extrasamples": [alpha]} if alpha else {}
    try:
        tifffile.imwrite(
            tmp_path / "x.tif",
            samples,
            photometric=photometric,
            byteorder=order,
            bigtiff=big,
            metadata=None,
            extratags=[(274, "H", 1, orientation, True)],
            **packed,
            **options,
        )
    except (ValueError, NotImplementedError, KeyError):
        return
    try:
        still = decode_still(tmp_path / "x.tif")
    except BadInput as error:
        refused = "is not supported" in str(error) or "above 1" in str(error)
        special = big and order == ">" and photometric == "separated"
        usual = kind in ("u1", "u2") and planar == "contig" and not alpha and not special
        if not refused or usual:
            raise
        return
    wanted = upright(255 * (rgb if photometric in ("rgb", "separated") else grey.repeat(3, -1)), orientation)
    assert still.rgb.shape == wanted.shape
    # Colours that were multiplied by alpha are known to 1 / alpha grey levels; Pillow cuts off what is left.
    np.testing.assert_allclose(still.rgb, wanted, atol=8 if alpha == "assocalpha" else 1.2)
    if alpha:
        np.testing.assert_allclose(still.alpha, upright(255 * opacity, orientation), atol=1.2)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """As Pillow turns an 8-bit picture with this EXIF orientation."""
    exif, file = Image.Exif(), BytesIO()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(np.round(pixels).astype(np.uint8)).save(file, "PNG", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(file))).astype(float)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg", "zstd"])
def test_what_pillow_writes(tmp_path, mode, compression):
    picture = Image.fromarray(gradient()).convert(mode)
    try:
        picture.save(tmp_path / "x.tif", compression=compression)
        with Image.open(tmp_path / "x.tif") as found:
            wanted = np.asarray(found.convert("RGB"))
    except (OSError, KeyError):
        pytest.skip("Pillow does not write or read this")
    np.testing.assert_array_equal(decode_still(tmp_path / "x.tif").rgb, wanted)


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_white_is_the_largest_value_of_the_bits_that_the_file_names(tmp_path, bits):
    grey = gradient()[..., 0] / 255
    values = np.round(grey * (2**bits - 1)).astype(np.uint16 if bits > 8 else np.uint8)
    places = np.arange(bits - 1, -1, -1)
    packed = np.packbits((values[..., None] >> places & 1).reshape(len(values), -1).astype(np.uint8), axis=1)
    tags = ifd.Directory()
    for tag, value in {256: 40, 257: 24, 258: bits, 259: 1, 262: 1, 273: 8, 277: 1, 278: 24, 279: packed.size}.items():
        tags.put(tag, ifd.SHORT, value)
    head = b"II*\0" + struct.pack("<I", 8 + packed.size)
    (tmp_path / "x.tif").write_bytes(head + packed.tobytes() + ifd.write_directory(tags, 8 + packed.size))
    wanted = values[..., None].repeat(3, -1) * (255 / (2**bits - 1))
    np.testing.assert_allclose(decode_still(tmp_path / "x.tif").rgb, wanted, atol=0.51)


def test_12_bits_in_16_stay_as_dark_as_viewers_show_them_and_are_named(tmp_path):
    values = np.round(gradient()[..., 0] / 255 * 4095).astype(np.uint16)
    for name in ("x.tif", "x.png"):
        Image.fromarray(values).save(tmp_path / name)
        still = decode_still(tmp_path / name)
        np.testing.assert_allclose(still.rgb[..., 0], values / 257, atol=0.51)
        assert any("only 12 of their 16 bits" in sentence for sentence in still.warnings)
        assert any("16-bit" in words for words in still.left_out)


@pytest.mark.parametrize(("scale", "words"), [(1.0, ""), (1.5, "cut off at white"), (255.0, "mostly above 1")])
def test_floats_above_white_are_named_or_refused(tmp_path, scale, words):
    tifffile.imwrite(tmp_path / "x.tif", (gradient() / 255 * scale).astype("f4"), photometric="rgb", metadata=None)
    if scale == 255:
        with pytest.raises(BadInput, match=rf"x\.tif.*{words}"):
            decode_still(tmp_path / "x.tif")
        return
    still = decode_still(tmp_path / "x.tif")
    np.testing.assert_allclose(still.rgb, np.clip(gradient() * scale, 0, 255), atol=0.51)
    assert words in "; ".join(still.warnings)


def test_lab(tmp_path):
    to_lab = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.profileToProfile(Image.fromarray(gradient() // 2 + 60), *to_lab, outputMode="LAB")
    lab.save(tmp_path / "x.tif")
    still = decode_still(tmp_path / "x.tif")
    assert np.abs(still.rgb.astype(int) - (gradient() // 2 + 60)).mean() < 1.5
    assert "CIELAB" in still.warnings[0]


def test_strips_that_are_missing_are_not_taken_for_black(tmp_path):
    encode_still(tmp_path / "x.tif", Still(gradient()))
    data = (tmp_path / "x.tif").read_bytes()
    rows, more = (struct.pack("<HHII", 257, 4, 1, value) for value in (24, 1000))
    (tmp_path / "x.tif").write_bytes(data.replace(rows, more))
    with pytest.raises(BadInput, match=r"x\.tif.*lacks 41 of the strips"):
        decode_still(tmp_path / "x.tif")


def test_pages_after_the_first_are_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for shade in (10, 20, 30):
            writer.write(np.full((8, 8, 3), shade, np.uint8), photometric="rgb", metadata=None)
    still = decode_still(tmp_path / "x.tif")
    assert (still.rgb == 10).all()
    assert still.left_out == ("2 further pages",)


def test_a_chain_of_pages_that_runs_in_a_circle_ends(tmp_path):
    Image.fromarray(gradient()).save(tmp_path / "x.tif")
    data = bytearray((tmp_path / "x.tif").read_bytes())
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    data[start + 2 + 12 * count : start + 6 + 12 * count] = data[4:8]
    (tmp_path / "x.tif").write_bytes(data)
    assert decode_still(tmp_path / "x.tif").left_out == ()


@pytest.mark.parametrize("suffix", [".tif", ".jpg", ".png"])
def test_tags_about_the_pixels_of_the_source_are_not_copied(tmp_path, suffix):
    """A source whose EXIF claims to be a planar, compressed, palette picture of another size."""
    exif = ifd.Directory()
    for tag in ifd.STRUCTURE - {330}:
        exif.put(tag, ifd.SHORT, 2)
    exif.put_text(271, "dash cam")
    block = ifd.write_exif(exif)
    Image.fromarray(gradient()).save(tmp_path / "x.jpg", exif=block, quality=100, subsampling=0)
    source = decode_still(tmp_path / "x.jpg")
    encode_still(tmp_path / f"y{suffix}", source, mark="made")
    with Image.open(tmp_path / f"y{suffix}") as found:
        found.load()
        assert found.mode == "RGB"
        assert np.abs(np.asarray(found).astype(int) - source.rgb).mean() < 3
        assert found.getexif()[271] == "dash cam"
        assert found.getexif().get(ExifTags.Base.Orientation, 1) == 1


def test_no_other_tag_changes_how_a_tiff_is_read(tmp_path):
    """Every seventh of the tags that a camera might write; all of them were tried once."""
    tags = [t for t in range(254, 65536, 7) if t not in {*ifd.STRUCTURE, *ifd.CHILDREN, ifd.ICC, ifd.XMP}]
    for start in range(0, len(tags), 400):
        exif = ifd.Directory()
        for tag in tags[start : start + 400]:
            exif.put(tag, ifd.SHORT, 2)
        encode_still(tmp_path / "x.tif", Still(gradient(), exif=ifd.write_exif(exif)))
        with Image.open(tmp_path / "x.tif") as found:
            np.testing.assert_array_equal(np.asarray(found), gradient())


def test_every_layout_of_the_shared_case_through_the_folder_tool(tmp_path):
    """../shared/cases/tiff-tags, made anew: each must come out as a TIFF that Pillow opens as RGB, right way up."""
    folder = tmp_path / "in"
    folder.mkdir()
    rgb = gradient()
    layouts = {
        "bigtiff": {"bigtiff": True},
        "fill": {"extratags": [(266, "H", 1, 1, True)]},
        "planar": {"planarconfig": "separate"},
        "tiled": {"tile": (16, 16)},
        "turned": {"extratags": [(274, "H", 1, 6, True)]},
        "rgb": {},
    }
    for name, options in layouts.items():
        data = np.moveaxis(rgb, -1, 0) if name == "planar" else rgb
        tifffile.imwrite(folder / f"{name}.tif", data, photometric="rgb", metadata=None, **options)
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.tif")
    Image.fromarray(rgb).convert("L").save(folder / "grey.tif")
    Image.fromarray(rgb[..., 0].astype(np.uint16) * 257).save(folder / "grey16.tif")
    entries = translate_unchanged(folder, tmp_path / "out", compare=True)
    assert {entry.status for entry in entries.values()} == {"done"}
    grey = np.asarray(Image.fromarray(rgb).convert("L").convert("RGB"))
    special = {"turned": np.rot90(rgb, -1), "grey": grey, "grey16": rgb[..., :1].repeat(3, -1)}
    for path in folder.iterdir():
        wanted = special.get(path.stem, rgb)
        with Image.open(tmp_path / "out" / path.name) as found:
            assert found.format == "TIFF"
            np.testing.assert_array_equal(np.asarray(found), wanted)
        with Image.open(tmp_path / "out" / f"{path.name}.compare.tif") as found:
            np.testing.assert_array_equal(np.asarray(found), np.concatenate([wanted, wanted], axis=1))
        assert tifffile.imread(tmp_path / "out" / path.name).shape == wanted.shape


def test_description_of_what_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", gradient().astype("i2"), photometric="rgb", metadata=None)
    with pytest.raises(BadInput, match=r"x\.tif: a TIFF of 3 signed samples of 16 bits.*is not supported"):
        decode_still(Path(tmp_path / "x.tif"))
