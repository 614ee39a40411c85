"""A picture as a histogram, a folder of pictures as rows of histograms, each read from disk once."""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from gen.errors import BadInput
from gen.media.ahead import map_ahead
from gen.media.files import writing
from gen.media.images import Pixels, decode_still

if TYPE_CHECKING:
    from gen.metrics.features import Features

SIDE = 224
"""Pixels: every picture is squashed to this square, as the usual loaders of these data sets do."""

CACHE_VERSION = 1
"""Goes up when any representation changes, so that no old number is taken for a new one."""

IMAGENET = Path(__file__).with_name("imagenet_luma256.json")

RepresentationName = Literal["luma16", "luma32", "luma256", "hue180", "hsv4", "lab8", "rgb8", "features"]

Histogram = NDArray[np.float32]
"""(bins,), sums to 1."""


class Representation(NamedTuple):
    """A way to see a picture."""

    bins: int
    describe: Callable[[Image.Image], NDArray[np.integer] | NDArray[np.floating]]
    """RGB picture of SIDE x SIDE -> (bins,), not negative, of any sum."""


def describe(name: RepresentationName, rgb: Pixels) -> Histogram:
    """Picture (H, W, 3), sRGB -> its histogram, after a bilinear resize (antialiased where it shrinks) to SIDE.

    Pictures smaller than SIDE get softer edges by it: only compare line drawings that were stored at one size.
    """
    square = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = REPRESENTATIONS[name].describe(square)
    return (values / values.sum()).astype(np.float32)


def rebin(histogram: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """(n bins,) -> (bins,): neighbours summed."""
    return histogram.reshape(bins, -1).sum(1)


def imagenet_histogram(name: RepresentationName) -> NDArray[np.float64] | None:
    """Mean histogram of 1,000 ImageNet images, shipped; None for what is no luma, which was not kept."""
    if not name.startswith("luma"):
        return None
    values = np.array(json.loads(IMAGENET.read_text(encoding="utf-8"))["p"], np.float64)
    return rebin(values / values.sum(), REPRESENTATIONS[name].bins)


def _luma(picture: Image.Image, bins: int) -> NDArray[np.integer]:
    """BT.601: Y = 0.299 R + 0.587 G + 0.114 B, in bins of 256 / bins grey levels."""
    return np.array(picture.convert("L").histogram()).reshape(bins, -1).sum(1)


def _hue(picture: Image.Image) -> NDArray[np.integer]:
    """OpenCV's 8-bit hue, two degrees a bin; greys have no hue and fall into bin 0, with red."""
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
    """Softmax over the 1280 pooled features of EfficientNet-Lite0: what the picture shows, not its pixel values."""
    import torch

    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
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
    """A file's size in bytes and time of change in nanoseconds, and what it came to when they were these."""

    size: int
    changed: int
    histogram: Histogram


class Reading(NamedTuple):
    """What the files of a folder came to."""

    histograms: dict[Path, Histogram]
    """Of each file that could be read, in the order given."""
    failed: dict[Path, str]
    """Why the others could not."""


def read_histograms(
    root: Path, files: Sequence[Path], name: RepresentationName, cache_folder: Path, workers: int = 4
) -> Reading:
    """Histograms of `files`, all below `root`; no picture is decoded that `cache_folder` knows and that is unchanged.

    Pictures stream by: 4 bins bytes of each are kept. A run that is stopped keeps what it has read. Raises
    `BadInput` where the cache cannot be written; a file that cannot be read is named on stderr and in the result.
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
            tqdm(total=len(files), desc=root.name, unit="image", disable=None) as bar,
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
        finished = len(reading.histograms) + len(reading.failed) == len(files)
        save_entries(store, fresh if finished else known | fresh, known)
    return reading


def _key(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _entry(file: Path, root: Path, name: RepresentationName, known: dict[str, Entry]) -> Entry | str:
    """The entry of one file, from the cache or from the picture, or what is wrong with the file."""
    try:
        stat = file.stat()
        old = known.get(_key(file, root))
        if old and (old.size, old.changed) == (stat.st_size, stat.st_mtime_ns):
            return old
        return Entry(stat.st_size, stat.st_mtime_ns, describe(name, decode_still(file).rgb))
    except BadInput as error:
        return str(error)
    except OSError as error:
        return f"{file}: the file cannot be read ({error.strerror})."


def load_entries(store: Path, bins: int) -> dict[str, Entry]:
    """The entries in a cache file, by path; none where there is no file, or a broken one."""
    try:
        with np.load(store, allow_pickle=False) as data:
            names, stamps, histograms = data["names"], data["stamps"], data["histograms"]
        if histograms.shape != (len(names), bins) or not np.allclose(histograms.sum(1), 1, atol=1e-3):
            return {}
        rows = zip(names.tolist(), stamps.tolist(), histograms.astype(np.float32, copy=False), strict=True)
        return {key: Entry(size, changed, histogram) for key, (size, changed), histogram in rows}
    except Exception:  # damage brings out anything: BadZipFile, KeyError, zlib.error, EOFError, ...
        return {}


def save_entries(store: Path, entries: dict[str, Entry], known: dict[str, Entry]) -> None:
    """Write the cache file, whole or not at all, if `entries` are not those that it holds already."""
    if not entries or (entries.keys() == known.keys() and all(entries[key] is known[key] for key in entries)):
        return
    stamps = np.array([(entry.size, entry.changed) for entry in entries.values()], np.int64)
    histograms = np.stack([entry.histogram for entry in entries.values()])
    with writing(store) as partial_file:
        np.savez(partial_file, names=np.array(list(entries)), stamps=stamps, histograms=histograms)
