"""Histograms against slow loops, and the cache: no picture is read twice, none that changed is missed."""

import os
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gen.media.images import Pixels
from gen.shift import representations
from gen.shift.representations import (
    REPRESENTATIONS,
    SIDE,
    describe,
    imagenet_histogram,
    load_entries,
    read_histograms,
    rebin,
)
from gen.shift.settings import RepresentationName

HISTOGRAMS: list[RepresentationName] = [name for name in REPRESENTATIONS if name != "features"]


def patches(seed: int = 0) -> Pixels:
    """(SIDE, SIDE, 3): a mosaic of 784 colours, so that the resize changes nothing and loops are short."""
    colours = np.random.default_rng(seed).integers(0, 256, (28, 28, 3), np.uint8)
    return colours.repeat(8, axis=0).repeat(8, axis=1)


def colours_of(picture: Pixels) -> Counter[tuple[int, int, int]]:
    return Counter(map(tuple, picture.reshape(-1, 3).tolist()))


def slow_hsv(red: int, green: int, blue: int) -> tuple[float, float, float]:
    """OpenCV's documented formula: H in half degrees, S and V in 0..255."""
    top, low = max(red, green, blue), min(red, green, blue)
    if top == low:
        return 0, 0, top
    if top == red:
        degrees = 60 * (green - blue) / (top - low)
    elif top == green:
        degrees = 120 + 60 * (blue - red) / (top - low)
    else:
        degrees = 240 + 60 * (red - green) / (top - low)
    return degrees % 360 / 2, 255 * (top - low) / top, top


def slow_lab(*colour: int) -> tuple[float, float, float]:
    """CIE L*a*b* of sRGB under D65, in OpenCV's 8-bit coding."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = [sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix]
    f = [t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (xyz[0] / 0.950456, xyz[1], xyz[2] / 1.088754)]
    return (116 * f[1] - 16) * 255 / 100, 500 * (f[0] - f[1]) + 128, 200 * (f[1] - f[2]) + 128


def slow_histogram(name: RepresentationName, picture: Pixels) -> NDArray[np.float64]:
    """Colour by colour, with the textbook's formulas."""
    bins = np.zeros(REPRESENTATIONS[name].bins)
    for (red, green, blue), count in colours_of(picture).items():
        if name.startswith("luma"):
            index = round(0.299 * red + 0.587 * green + 0.114 * blue) * len(bins) // 256
        elif name == "hue180":
            index = round(slow_hsv(red, green, blue)[0]) % 180
        elif name == "hsv4":
            hue, saturation, value = slow_hsv(red, green, blue)
            index = round(hue) % 180 // 45 * 16 + round(saturation) // 64 * 4 + int(value) // 64
        elif name == "lab8":
            light, a, b = slow_lab(red, green, blue)
            index = round(light) // 32 * 64 + round(a) // 32 * 8 + round(b) // 32
        else:
            index = red // 32 * 64 + green // 32 * 8 + blue // 32
        bins[index] += count
    return bins / bins.sum()


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_is_what_a_slow_loop_counts(name: RepresentationName) -> None:
    """Up to the few of 784 colours that integer arithmetic rounds to the other side of a bin's edge."""
    picture = patches()
    apart = np.abs(describe(name, picture) - slow_histogram(name, picture)).sum() / 2
    assert apart < (0.02 if name in ("hue180", "hsv4", "lab8") else 1e-6)


@pytest.mark.parametrize("name", list(REPRESENTATIONS))
def test_sums_to_1_whatever_the_size(name: RepresentationName) -> None:
    for height, width in ((1, 1), (31, 500), (300, 200)):
        histogram = describe(name, patches()[:height, :width].repeat(2, axis=1))
        assert histogram.shape == (REPRESENTATIONS[name].bins,)
        assert histogram.dtype == np.float32
        assert histogram.sum() == pytest.approx(1, abs=1e-5)
        assert histogram.min() >= 0


def test_colours_fall_where_expected() -> None:
    for colour, hue in (((255, 0, 0), 0), ((0, 255, 0), 60), ((0, 0, 255), 120), ((90, 90, 90), 0)):
        assert describe("hue180", np.full((9, 9, 3), colour, np.uint8))[hue] == 1
    white = np.full((5, 5, 3), 255, np.uint8)
    assert describe("luma32", white)[31] == describe("rgb8", white)[511] == 1


def test_a_picture_is_squashed_to_a_square() -> None:
    """Half of the area stays half of the histogram, whatever the shape."""
    wide = np.zeros((20, 900, 3), np.uint8)
    wide[:, 450:] = 255
    histogram = describe("luma16", wide)
    assert histogram[0] == pytest.approx(0.5, abs=2 / SIDE)
    assert histogram[15] == pytest.approx(0.5, abs=2 / SIDE)


def test_fewer_bins_are_sums_of_more() -> None:
    fine = describe("luma256", patches()).astype(np.float64)
    np.testing.assert_allclose(rebin(fine, 32), describe("luma32", patches()), atol=1e-7)
    np.testing.assert_allclose(rebin(fine, 16), [fine[i * 16 : i * 16 + 16].sum() for i in range(16)])


def test_the_shipped_reference() -> None:
    fine = imagenet_histogram("luma256")
    coarse = imagenet_histogram("luma16")
    assert fine is not None
    assert coarse is not None
    assert coarse.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(coarse, rebin(fine, 16))
    assert imagenet_histogram("hsv4") is None


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Six, as bmp: whatever they show, their files have one size."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(patches(i)).save(folder / f"{i}.bmp")
    return sorted(folder.iterdir())


def rows(files: list[Path], cache: Path, name: RepresentationName = "luma32") -> list[list[float]]:
    cache.mkdir(exist_ok=True)
    return [h.tolist() for h in read_histograms(files[0].parent, files, name, cache).histograms.values()]


class TestReading:
    def test_gives_each_file_its_own(self, pictures: list[Path], tmp_path: Path) -> None:
        expected = [describe("rgb8", patches(i)).tolist() for i in range(6)]
        assert rows(pictures, tmp_path / "cache", "rgb8") == expected

    def test_again_reads_no_picture(
        self, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = rows(pictures, tmp_path / "cache")
        monkeypatch.setattr(representations, "decode_still", None)
        assert rows(pictures, tmp_path / "cache") == first

    def test_what_changed_is_read_again(self, pictures: list[Path], tmp_path: Path) -> None:
        first = rows(pictures, tmp_path / "cache")
        Image.fromarray(patches(77)).save(pictures[2])
        os.utime(pictures[2], (0, pictures[2].stat().st_mtime + 1))
        again = rows(pictures, tmp_path / "cache")
        assert again[2] == describe("luma32", patches(77)).tolist()
        assert again[:2] + again[3:] == first[:2] + first[3:]

    def test_another_translation_of_the_size_and_time_of_the_old_one_is_read(
        self, pictures: list[Path], tmp_path: Path
    ) -> None:
        rows(pictures, tmp_path / "cache")
        before = pictures[2].stat()
        Image.fromarray(patches(77)).save(pictures[2])
        assert pictures[2].stat().st_size == before.st_size
        os.utime(pictures[2], ns=(before.st_atime_ns, before.st_mtime_ns))
        assert rows(pictures, tmp_path / "cache")[2] == describe("luma32", patches(77)).tolist()

    def test_representations_and_folders_have_caches_of_their_own(self, pictures: list[Path], tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        Image.fromarray(patches(50)).save(other / "0.bmp")
        os.utime(other / "0.bmp", ns=(0, pictures[0].stat().st_mtime_ns))
        rows(pictures, tmp_path / "cache")
        assert rows([other / "0.bmp"], tmp_path / "cache") == [describe("luma32", patches(50)).tolist()]
        assert len(rows(pictures, tmp_path / "cache", "luma16")[0]) == 16
        assert len(list((tmp_path / "cache").iterdir())) == 3

    @pytest.mark.parametrize("kind", ["rubbish", "cut", "empty", "other bins", "not normalised"])
    def test_a_broken_cache_is_thrown_away(self, kind: str, pictures: list[Path], tmp_path: Path) -> None:
        first = rows(pictures, tmp_path / "cache")
        (store,) = (tmp_path / "cache").iterdir()
        with np.load(store) as data:
            arrays = dict(data)
        if kind == "other bins":
            np.savez(store, **arrays | {"histograms": arrays["histograms"][:, :16] * 2})
        elif kind == "not normalised":
            np.savez(store, **arrays | {"histograms": arrays["histograms"] * 2})
        else:
            content = store.read_bytes()
            store.write_bytes({"rubbish": b"no archive", "cut": content[:-200], "empty": b""}[kind])
        assert rows(pictures, tmp_path / "cache") == first
        assert len(load_entries(store, 32)) == 6

    def test_a_bad_file_is_named_and_the_rest_goes_on(
        self, pictures: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        pictures[3].write_bytes(b"no picture")
        pictures[4].unlink()
        (tmp_path / "cache").mkdir()
        reading = read_histograms(pictures[0].parent, pictures, "luma32", tmp_path / "cache")
        assert list(reading.histograms) == [*pictures[:3], pictures[5]]
        assert list(reading.failed) == pictures[3:5]
        assert "3.bmp" in capfd.readouterr().err
        assert rows([*pictures[:3], pictures[5]], tmp_path / "cache") == [
            h.tolist() for h in reading.histograms.values()
        ]

    def test_a_stopped_run_keeps_what_it_has(
        self, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cache = tmp_path / "cache"
        rows(pictures[5:], cache)

        def ctrl_c(name: RepresentationName, rgb: Pixels) -> NDArray[np.float32]:
            if np.array_equal(rgb, patches(3)):
                raise KeyboardInterrupt
            return describe(name, rgb)

        monkeypatch.setattr(representations, "describe", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            rows(pictures, cache)
        (store,) = cache.iterdir()
        assert sorted(load_entries(store, 32)) == ["0.bmp", "1.bmp", "2.bmp", "5.bmp"]

    def test_pictures_stream_by(self, tmp_path: Path) -> None:
        """Thirty pictures of three megabytes: never more than a few of them at once."""
        picture = np.zeros((1000, 1000, 3), np.uint8)
        files = [tmp_path / f"{i:02d}.png" for i in range(30)]
        for file in files:
            Image.fromarray(picture).save(file)
        (tmp_path / "cache").mkdir()
        tracemalloc.start()
        read_histograms(tmp_path, files, "luma32", tmp_path / "cache", workers=2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * picture.nbytes
