"""Histograms of images, and a cache on disk, so that each image is decoded once."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gen.bars import progress_bar
from gen.errors import BadInput
from gen.media.ahead import map_ahead
from gen.media.files import writing
from gen.media.images import Pixels, decode_still
from gen.shift.settings import RepresentationName

if TYPE_CHECKING:
    from gen.metrics.features import Features

SIDE = 224
"""Pixels: every image is resized to this square without keeping its aspect, as DomainBed's loaders do."""

CACHE_VERSION = 1
"""Increase it when a representation changes, so that old cache files are not read."""

IMAGENET = Path(__file__).with_name("imagenet_luma256.json")

Histogram = NDArray[np.float32]
"""(bins,), sums to 1."""


class Representation(NamedTuple):
    """How an image becomes a histogram."""

    bins: int
    describe: Callable[[Image.Image], NDArray[np.integer] | NDArray[np.floating]]
    """RGB image of SIDE x SIDE pixels -> (bins,), non-negative, not normalised."""


def describe(name: RepresentationName, rgb: Pixels) -> Histogram:
    """Image (H, W, 3), sRGB -> its histogram, after a bilinear resize (antialiased when it shrinks) to SIDE.

    Images smaller than SIDE are blurred by it, which adds grey levels to line drawings: compare drawings only if they
    were stored at the same size.
    """
    square = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = REPRESENTATIONS[name].describe(square)
    return (values / values.sum()).astype(np.float32)


def rebin(histogram: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """(n · bins,) -> (bins,): sums of n neighbouring bins."""
    return histogram.reshape(bins, -1).sum(1)


def imagenet_histogram(name: RepresentationName) -> NDArray[np.float64] | None:
    """Mean histogram of 1,000 ImageNet images, shipped; None except for luma, the only one that was stored."""
    if not name.startswith("luma"):
        return None
    values = np.array(json.loads(IMAGENET.read_text(encoding="utf-8"))["p"], np.float64)
    return rebin(values / values.sum(), REPRESENTATIONS[name].bins)


def _luma(picture: Image.Image, bins: int) -> NDArray[np.integer]:
    """BT.601: Y = 0.299 R + 0.587 G + 0.114 B, in bins of 256 / bins grey levels."""
    return np.array(picture.convert("L").histogram()).reshape(bins, -1).sum(1)


def _hue(picture: Image.Image) -> NDArray[np.integer]:
    """OpenCV's 8-bit hue, two degrees per bin. Greys have no hue; OpenCV gives them 0, the bin of red."""
    return np.bincount(_converted(picture, cv2.COLOR_RGB2HSV)[..., 0].ravel(), minlength=180)


def _hsv(picture: Image.Image) -> NDArray[np.floating]:
    """4 x 4 x 4 bins of hue (0 to 179), saturation and value."""
    return _joint(_converted(picture, cv2.COLOR_RGB2HSV), 4, (180, 256, 256))


def _lab(picture: Image.Image) -> NDArray[np.floating]:
    """8 x 8 x 8 bins of CIE L*a*b* in OpenCV's 8-bit coding."""
    return _joint(_converted(picture, cv2.COLOR_RGB2LAB), 8)


def _rgb(picture: Image.Image) -> NDArray[np.floating]:
    """8 x 8 x 8 bins of red, green and blue."""
    return _joint(np.asarray(picture), 8)


def _converted(picture: Image.Image, code: int) -> Pixels:
    return cv2.cvtColor(np.asarray(picture), code).astype(np.uint8, copy=False)


def _joint(pixels: Pixels, bins: int, ends: tuple[int, int, int] = (256, 256, 256)) -> NDArray[np.floating]:
    """(H, W, 3), channel c below ends[c] -> counts (bins³,), the last channel running fastest."""
    ranges = [float(bound) for end in ends for bound in (0, end)]
    return np.asarray(cv2.calcHist([pixels], [0, 1, 2], None, [bins] * 3, ranges), np.float32).ravel()


def _softmax_of_features(picture: Image.Image) -> NDArray[np.floating]:
    """Softmax over the 1280 pooled features of EfficientNet-Lite0: content instead of pixel values."""
    from gen.media.resize import to_chw

    pixels = to_chw(np.array(picture))[None]
    return _network()(pixels)[0].softmax(0).numpy()


@cache
def _network() -> "Features":
    from gen.metrics.features import load_features

    return load_features("efficientnet-lite0")


REPRESENTATIONS: dict[RepresentationName, Representation] = {
    "luma16": Representation(16, partial(_luma, bins=16)),
    "luma32": Representation(32, partial(_luma, bins=32)),
    "luma256": Representation(256, partial(_luma, bins=256)),
    "hue180": Representation(180, _hue),
    "hsv4": Representation(64, _hsv),
    "lab8": Representation(512, _lab),
    "rgb8": Representation(512, _rgb),
    "features": Representation(1280, _softmax_of_features),
}


class Entry(NamedTuple):
    """A cached histogram, with the file's size in bytes and the time of its last change: its validity check."""

    size: int
    changed: int
    histogram: Histogram


class Reading(NamedTuple):
    """The histograms of a folder."""

    histograms: dict[Path, Histogram]
    """By file, in the order given, without unreadable files."""
    failed: dict[Path, str]
    """Unreadable files, and the reason."""


def read_histograms(
    root: Path, files: Sequence[Path], name: RepresentationName, cache_folder: Path, workers: int = 4
) -> Reading:
    """Histograms of `files`, all below `root`. Images that are in the cache and unchanged are not decoded.

    Memory: 4 · bins bytes per image, plus a few decoded images. If it is interrupted, the cache keeps what was read.
    Unreadable files are reported on stderr and in the result. Raises `BadInput` if the cache cannot be written.
    """
    digest = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:12]
    store = cache_folder / f"{name}-v{CACHE_VERSION}-{digest}.npz"
    known = load_entries(store, REPRESENTATIONS[name].bins)
    fresh: dict[str, Entry] = {}
    reading = Reading({}, {})
    read = partial(_entry, root=root, name=name, known=known)
    try:
        with (
            ThreadPoolExecutor(workers) as pool,
            progress_bar(total=len(files), desc=root.name, unit="image") as bar,
        ):
            for file, entry in zip(files, map_ahead(pool, read, files, 4 * workers), strict=True):
                if isinstance(entry, str):
                    reading.failed[file] = entry
                    bar.write(f"failed: {entry}", file=sys.stderr)
                else:
                    fresh[_key(file, root)] = entry
                    reading.histograms[file] = entry.histogram
                bar.update()
    finally:
        # A full read drops entries of deleted files; an interrupted one must keep those that it has not reached.
        finished = len(reading.histograms) + len(reading.failed) == len(files)
        save_entries(store, fresh if finished else known | fresh, known)
    return reading


def _key(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _entry(file: Path, root: Path, name: RepresentationName, known: dict[str, Entry]) -> Entry | str:
    """The entry of one file, from the cache or from the image, or the reason why it cannot be read."""
    try:
        stat = file.stat()
        old = known.get(_key(file, root))
        # In nanoseconds; not the modification time alone: every translation of a picture has that of its source.
        changed = max(stat.st_mtime_ns, stat.st_ctime_ns)
        if old and (old.size, old.changed) == (stat.st_size, changed):
            return old
        return Entry(stat.st_size, changed, describe(name, decode_still(file).rgb))
    except BadInput as error:
        return str(error)
    except OSError as error:
        return f"{file}: cannot read the file ({error.strerror})."


def load_entries(store: Path, bins: int) -> dict[str, Entry]:
    """The entries of a cache file, by path; empty if the file is missing or damaged."""
    try:
        with np.load(store, allow_pickle=False) as data:
            names, stamps, histograms = data["names"], data["stamps"], data["histograms"]
        if histograms.shape != (len(names), bins) or not np.allclose(histograms.sum(1), 1, atol=1e-3):
            return {}
        rows = zip(names.tolist(), stamps.tolist(), histograms.astype(np.float32, copy=False), strict=True)
        return {key: Entry(size, changed, histogram) for key, (size, changed), histogram in rows}
    except Exception:  # a damaged archive raises BadZipFile, KeyError, zlib.error, EOFError, ...
        return {}


def save_entries(store: Path, entries: dict[str, Entry], known: dict[str, Entry]) -> None:
    """Write the cache file atomically, unless `entries` are the same as the `known` ones that it holds."""
    if not entries or (entries.keys() == known.keys() and all(entries[key] is known[key] for key in entries)):
        return
    stamps = np.array([(entry.size, entry.changed) for entry in entries.values()], np.int64)
    histograms = np.stack([entry.histogram for entry in entries.values()])
    with writing(store) as partial_file:
        np.savez(partial_file, names=np.array(list(entries)), stamps=stamps, histograms=histograms)
