"""Done means right: with the network replaced by identity, Pillow shows of each output what it shows of the source."""

import os
import resource
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps, features

from gen import BadInput, BadSetting
from gen.media import images
from gen.media.ahead import batches, map_ahead
from gen.media.images import STILL_SUFFIXES, WRITTEN_AS, decode_still
from gen.media.still_writing import STILL_FORMATS
from gen.translation.settings import TranslateSettings, check_settings
from tests.media.identity import translate_unchanged
from tests.media.test_images import gradient

MODES = {
    "JPEG": ["1", "L", "RGB", "CMYK"],
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "WEBP": ["L", "RGB", "RGBA", "P"],
    "BMP": ["1", "L", "P", "RGB"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"],
    "GIF": ["1", "L", "P", "RGB", "RGBA"],
    "AVIF": ["L", "RGB", "RGBA"],
    "PPM": ["1", "L", "RGB", "I;16"],
}
SUFFIXES = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}
SUFFIXES |= {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".gif": "GIF",
    ".avif": "AVIF",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".pnm": "PPM",
}
LOSSY = ("JPEG", "WEBP", "AVIF")


def as_pillow_shows(path: Path) -> Image.Image:
    """The first frame, upright, in 8 bits, by Pillow alone."""
    with path.open("rb") as file, Image.open(file) as opened:  # given a path, Pillow 12 scrambles raw turned RGBA TIFFs
        shown = ImageOps.exif_transpose(opened)
        if shown.mode.startswith("I"):
            shown = Image.fromarray(np.round(np.asarray(shown) / 257).astype(np.uint8))
        if shown.mode == "F":
            shown = Image.fromarray(np.round(np.clip(np.asarray(shown), 0, 1) * 255).astype(np.uint8))
        return shown.convert("RGBA" if shown.has_transparency_data else "RGB")


def pixels(picture: Image.Image, lossy: bool) -> np.ndarray:
    """Over grey where it is transparent; of a lossy format means of areas, because dithered pixels are far off."""
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (128, 128, 128)), picture).convert("RGB")
    return np.asarray(picture.resize((3, 3), Image.Resampling.BOX) if lossy else picture).astype(float)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[str, Image.Image, dict]:
    """(suffix, picture, options for Pillow's `save`), of any mode, size, orientation and number of frames."""
    suffix = draw(st.sampled_from(sorted(SUFFIXES)))
    format = SUFFIXES[suffix]
    mode = draw(st.sampled_from(MODES[format]))
    smallest = 12 if format in LOSSY else 1
    height, width = draw(st.integers(smallest, 40)), draw(st.integers(smallest, 40))
    rgb = gradient(height, width)
    alpha = Image.fromarray(rgb[..., 1])
    if mode == "I;16":
        picture = Image.fromarray(rgb[..., 0].astype(np.uint16) * 250 + 3)
    elif mode == "F":
        picture = Image.fromarray((rgb[..., 0] / 255).astype(np.float32))
    else:
        picture = Image.fromarray(rgb).convert(mode)
        if mode in ("LA", "RGBA"):
            picture.putalpha(alpha)
    options: dict = {"quality": 95} if format in LOSSY else {}
    if format in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = draw(st.integers(1, 8) if format == "TIFF" else st.integers(0, 9))
        options["exif"] = exif
    if format == "TIFF":
        options["compression"] = draw(st.sampled_from(["raw", "tiff_lzw", "tiff_adobe_deflate"]))
    if mode == "P" and format in ("PNG", "GIF") and draw(st.booleans()):
        options["transparency"] = draw(st.integers(0, 255))
    if format in ("GIF", "PNG", "WEBP", "TIFF") and mode == "RGB" and draw(st.booleans()):
        further = [Image.new(mode, picture.size, (40 * i, 0, 200)) for i in range(1, draw(st.integers(2, 4)))]
        options |= {"save_all": True, "append_images": further}
    return suffix, picture, options


@given(st.lists(pictures(), min_size=8, max_size=8), st.sampled_from(["keep", "keep", "png", "jpg", "webp"]))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_done_means_right(tmp_path_factory, drawn, still_format):
    folder = tmp_path_factory.mktemp("identity")
    (folder / "in").mkdir()
    for number, (suffix, picture, options) in enumerate(drawn):
        picture.save(folder / "in" / f"{number}{suffix}", format=SUFFIXES[suffix], **options)
    entries = translate_unchanged(folder / "in", folder / "out", format=still_format)
    assert len(entries) == len(drawn)
    for number, (suffix, picture, options) in enumerate(drawn):
        entry = entries[f"{number}{suffix}"]
        assert entry.status == "done", entry.error
        output = Path(entry.output)
        wanted, found = as_pillow_shows(folder / "in" / f"{number}{suffix}"), as_pillow_shows(output)
        assert found.size == wanted.size
        assert (entry.width, entry.height) == wanted.size
        lossy = STILL_FORMATS[output.suffix] in LOSSY
        if lossy and min(wanted.size) < 12:  # a lossy codec is far off on a few pixels
            continue
        difference = pixels(found, lossy) - pixels(wanted if found.mode == "RGBA" else wanted.convert("RGB"), lossy)
        assert np.abs(difference).max() < (30 if lossy else 0.51)  # a mirrored gradient is off by 85 and more
        if wanted.mode == "RGBA" and "transparency" not in "; ".join(entry.left_out):
            alpha = np.asarray(wanted.getchannel("A")).astype(int)
            opacity = np.asarray(found.convert("RGBA").getchannel("A"))
            assert np.abs(opacity - alpha).mean() < 2
        further = len(options.get("append_images", []))
        assert any("further" in words for words in entry.left_out) == bool(further)
        assert any("bit samples" in words for words in entry.left_out) == picture.mode.startswith(("I", "F"))


def test_every_format_that_is_read_becomes_one_that_is_written(tmp_path):
    assert set(STILL_SUFFIXES) - {".heic", ".heif"} == set(SUFFIXES)
    assert {WRITTEN_AS.get(suffix, suffix) for suffix in STILL_SUFFIXES} <= set(STILL_FORMATS)
    (tmp_path / "in").mkdir()
    for suffix in SUFFIXES:
        Image.fromarray(gradient()).save(tmp_path / "in" / f"x{suffix}.{suffix[1:]}", format=SUFFIXES[suffix])
    entries = translate_unchanged(tmp_path / "in", tmp_path / "out")
    found = {Path(entry.input).suffix: Path(entry.output).suffix for entry in entries.values()}
    assert found[".jfif"] == ".jpg"
    assert found[".gif"] == found[".pgm"] == ".png"
    assert found[".avif"] == (".avif" if features.check("avif") else ".png")
    assert all(entry.status == "done" for entry in entries.values())


@pytest.mark.parametrize("suffix", [".heic", ".heif"])
def test_heic_is_read_with_the_optional_package(tmp_path, suffix):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Make] = 6, "phone"
    Image.fromarray(gradient(64, 96)).save(tmp_path / f"x{suffix}", format="HEIF", exif=exif, quality=95)
    wanted = as_pillow_shows(tmp_path / f"x{suffix}")
    assert np.abs(decode_still(tmp_path / f"x{suffix}").rgb.astype(int) - np.asarray(wanted)).mean() < 1
    entries = translate_unchanged(tmp_path / f"x{suffix}", tmp_path / "out")
    with Image.open(tmp_path / "out" / "x.jpg") as found:
        assert found.getexif()[ExifTags.Base.Make] == "phone"
        assert found.size == wanted.size
    assert entries[f"x{suffix}"].status == "done"


def test_heic_without_the_optional_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "HEIC", False)
    monkeypatch.setattr(images, "NOT_READ", {".heic": "HEIC needs an optional package: pip install 'gen[heic]'"})
    (tmp_path / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(BadInput, match=r"x\.heic.*gen\[heic\]"):
        decode_still(tmp_path / "x.heic")


STARTS = [
    b"",
    b"\xff\xd8\xff",
    b"\xff\xd8\xff\xe0\0\4ab",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"II*\0",
    b"MM\0*\0\0\0\x08\xff\xff",
]
STARTS += [
    b"GIF89a",
    b"P5 #",
    b"P2 9 9 255 ",
    b"BM",
    b"\x89PNG\r\n\x1a\n",
    b"\0\0\0\x18ftypavif",
    b"\0\0\0\x18ftypheic",
]


class TestLimits:
    def test_more_than_max_megapixels_names_the_setting(self, tmp_path):
        Image.new("1", (4000, 3000)).save(tmp_path / "x.png")
        entry = translate_unchanged(tmp_path / "x.png", tmp_path / "out", max_megapixels=11.9)["x.png"]
        assert entry.status == "failed"
        assert "x.png" in (entry.error or "")
        assert "4000x3000" in (entry.error or "")
        assert "raise max_megapixels" in (entry.error or "")
        entry = translate_unchanged(tmp_path / "x.png", tmp_path / "out", max_megapixels=12)["x.png"]
        assert entry.status == "done"
        with pytest.raises(BadSetting, match="max_megapixels"):
            check_settings(TranslateSettings(tmp_path, tmp_path, max_megapixels=0))

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".gif", ".bmp", ".webp"])
    def test_pillows_own_limit_neither_ends_nor_warns(self, tmp_path, suffix, monkeypatch, recwarn):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert images.still_size(tmp_path / "none.png") == (0, 0)
        Image.new("RGB", (30, 30)).save(tmp_path / f"x{suffix}")
        assert images.still_size(tmp_path / f"x{suffix}") == (30, 30)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert decode_still(tmp_path / f"x{suffix}").rgb.shape == (30, 30, 3)
        assert not [w for w in recwarn if issubclass(w.category, Image.DecompressionBombWarning)]
        with pytest.raises(BadInput, match=r"max_megapixels = 0\.0008"):
            decode_still(tmp_path / f"x{suffix}", max_pixels=800)

    @pytest.mark.parametrize("start", STARTS)
    def test_a_huge_file_that_is_no_picture_is_not_read_whole(self, tmp_path, start):
        with (tmp_path / "x.jpg").open("wb") as file:
            file.write(start)
            file.truncate(3 << 30)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        entry = translate_unchanged(tmp_path / "x.jpg", tmp_path / "out")["x.jpg"]
        assert entry.status == "failed"
        assert "x.jpg" in (entry.error or "")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "x.jpg")
        with pytest.raises(BadInput, match="not a file"):
            decode_still(tmp_path / "x.jpg")

    def test_out_of_memory_in_one_file_is_the_end_of_that_file(self, tmp_path, monkeypatch):
        (tmp_path / "in").mkdir()
        for name in ("a", "b", "c"):
            Image.fromarray(gradient()).save(tmp_path / "in" / f"{name}.png")
        load = images.read_after

        def full(found, image, file, turned):
            if file.name.endswith("b.png"):
                raise MemoryError
            load(found, image, file, turned)

        monkeypatch.setattr(images, "read_after", full)
        entries = translate_unchanged(tmp_path / "in", tmp_path / "out")
        assert {name: entry.status for name, entry in entries.items()} == {
            "a.png": "done",
            "b.png": "failed",
            "c.png": "done",
        }
        assert "not enough memory" in (entries["b.png"].error or "")

    def test_large_pictures_wait_alone(self):
        from concurrent.futures import ThreadPoolExecutor

        ahead = 0
        largest = 0
        sizes = [30, 200, 30, 30, 200, 200, 30]

        def start(size: int) -> int:
            nonlocal ahead, largest
            ahead += size
            largest = max(largest, ahead)
            return size

        with ThreadPoolExecutor(1) as pool:
            for size in map_ahead(pool, start, sizes, window=10, weigh=float, most=100):
                ahead -= size
        assert largest <= 200 + 100
        assert list(batches([1, 1, 2, 2, 2], 2, lambda item: item)) == [[1, 1], [2, 2], [2]]


def test_animations_and_pages_are_named_by_number(tmp_path):
    first, others = Image.fromarray(gradient()), [Image.new("RGB", (40, 24), shade) for shade in ("red", "blue")]
    for suffix in (".gif", ".png", ".webp", ".tif"):
        first.save(tmp_path / f"x{suffix}", save_all=True, append_images=others)
        still = decode_still(tmp_path / f"x{suffix}")
        assert still.left_out == (f"2 further {'pages' if suffix == '.tif' else 'frames'}",)
        assert np.abs(still.rgb.astype(int) - gradient()).mean() < 12
    first.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=others)
    assert "2 further pictures" in decode_still(tmp_path / "x.jpg").left_out


ANIMATED_AVIF = (
    "AAAAKGZ0eXBhdmlzAAAAAGF2aWZhdmlzbXNmMWlzbzhtaWYxbWlhZgAAAOltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAA"
    "AAAAAAAA5waXRtAAAAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAA+MAAAAfAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYwMUNv"
    "bG9yAAAAAGhpcHJwAAAASWlwY28AAAAUaXNwZQAAAAAAAAAIAAAACAAAAA5waXhpAAAAAAEIAAAADGF2MUOBABwAAAAAE2NvbHJuY2x4AAEADQ"
    "AGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAACym1vb3YAAAB4bXZoZAEAAAAAAAAA5y5KvwAAAADnLkq/AAAD6P//////////AAEAAAEAAAAA"
    "AAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAEAAAJKdHJhawAAAG"
    "h0a2hkAQAAAQAAAADnLkq/AAAAAOcuSr8AAAABAAAAAP//////////AAAAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAQAAAAAAAAAA"
    "AAAAAAAAQAAAAAAIAAAACAAAAAAALGVkdHMAAAAkZWxzdAEAAAEAAAABAAAAAAAAAAMAAAAAAAAAAAABAAAAAAGubWRpYQAAACxtZGhkAQAAAA"
    "AAAADnLkq/AAAAAOcuSr8AAAPoAAAAAAAAAANVxAAAAAAAIWhkbHIAAAAAAAAAAHBpY3QAAAAAAAAAAAAAAAAAAAABWW1pbmYAAAAUdm1oZAAA"
    "AAEAAAAAAAAAAAAAACRkaW5mAAAAHGRyZWYAAAAAAAAAAQAAAAx1cmwgAAAAAQAAARlzdGJsAAAAlXN0c2QAAAAAAAAAAQAAAIVhdjAxAAAAAA"
    "AAAAEAAAAAAAAAAAAAAAAAAAAAAAgACABIAAAASAAAAAAAAAABCkFPTSBDb2RpbmcAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGP//AAAADGF2MUOB"
    "ABwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABBjY3N0AAAAAHwAAAAAAAAYc3R0cwAAAAAAAAABAAAAAwAAAAEAAAAcc3RzYwAAAAAAAAABAAAAAQ"
    "AAAAMAAAABAAAAIHN0c3oAAAAAAAAAAAAAAAMAAAAfAAAAFwAAABcAAAAUc3RjbwAAAAAAAAABAAAD4wAAABRzdHNzAAAAAAAAAAEAAAABAAAA"
    "VW1kYXQSAAoMAAAAARfm182AhoNQMg0QALIAAAkAACVoVBh4EgAyEzADwIAAAHrIAAAkAKAAAFmlG3ASADITMAXBBAAARrIAAAkACAAe5f10GA"
    "=="
)
"""Three frames of 8x8 pixels, of greys 200, 90 and 20. Pillow 12 crashes now and then when it writes such files."""


def test_an_animated_avif(tmp_path):
    (tmp_path / "x.avif").write_bytes(b64decode(ANIMATED_AVIF))
    still = decode_still(tmp_path / "x.avif")
    assert still.left_out == ("2 further frames",)
    np.testing.assert_allclose(still.rgb, 200, atol=3)
