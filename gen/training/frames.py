"""Image folders as frames of one size in memory: decoded once, cached as uint8."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gen.bars import progress_bar
from gen.errors import BadInput
from gen.media.ahead import map_ahead
from gen.media.files import make_out_folder, sweep, write_atomically
from gen.media.folders import find_stills
from gen.media.images import at_rows, decode_still, middle_square
from gen.media.left_out import LeftOut
from gen.provenance import fingerprint_bytes
from gen.training.data_record import BYTES, LINKED
from gen.training.streets import STREETS, streets_of

DEVICE_SHARE = 0.25
"""Share of the free device memory that cached frames may take; the rest is for networks and activations."""

MOST_ORIGINS = 50
"""Folders that a record names at most as those that frames are linked from: some tools have one for each file."""

MAX_WIDTH = 50
"""Most columns of a cached frame, in multiples of its rows. An image of 60,000 x 1 pixels would take 11 GB."""


@dataclass(frozen=True)
class Frames:
    """Decoded frames of one domain, concatenated in one flat tensor."""

    name: str
    folder: Path
    paths: tuple[Path, ...]
    pixels: Tensor
    """uint8, flat: frame i is `pixels[starts[i]:][: h * w * 3]` as (h, w, 3)."""
    starts: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    """Height and width of each frame, in pixels, as cached."""
    left_out: Mapping[Path, str] = field(default_factory=LeftOut)
    """Unusable images of the folder, with the reason: a sentence that names the file."""
    file_bytes: tuple[int, ...] = ()
    """Size of each frame's file."""

    def __len__(self) -> int:
        return len(self.paths)

    def frame(self, index: int) -> Tensor:
        """Frame `index` as uint8 (3, h, w): a view, not a copy."""
        height, width = self.sizes[index]
        start = self.starts[index]
        return self.pixels[start : start + height * width * 3].view(height, width, 3).permute(2, 0, 1)

    @property
    def fingerprint(self) -> str:
        """16 hex digits for the frames' paths inside the folder and the sizes of their files."""
        names = [path.relative_to(self.folder).as_posix() for path in self.paths]
        return fingerprint_bytes(json.dumps([names, self.file_bytes]).encode())

    def take(self, indices: Sequence[int]) -> "Frames":
        """The frames at these indices, in this order."""
        lists = (self.paths, self.starts, self.sizes, self.file_bytes)
        paths, starts, sizes, file_bytes = (tuple(v[i] for i in indices) for v in lists)
        return replace(self, paths=paths, starts=starts, sizes=sizes, file_bytes=file_bytes)

    def summary(self) -> dict[str, Any]:
        """For the record: the folder's name, count, file bytes, and the most common size (height, width) as cached.

        Also the streets that `gen render-street` drew, the folders that frames are linked from, and the number of
        unusable images, if there are any, so that records without them compare equal to older ones.
        """
        record: dict[str, Any] = {
            "folder": folder_name(self.folder),
            "count": len(self),
            BYTES: sum(self.file_bytes),
            "cached_size": list(Counter(self.sizes).most_common(1)[0][0]),
        }
        record |= {STREETS: shown} if (shown := streets_of(self.paths)) else {}
        linked = sorted(map(folder_name, origins(self.paths, self.folder)))[:MOST_ORIGINS]
        record |= {LINKED: linked} if linked else {}
        return record | ({"left_out": len(self.left_out)} if self.left_out else {})


def origins(paths: Sequence[Path], folder: Path) -> set[Path]:
    """The folders outside `folder` in which linked ones of its frames lie."""
    root = folder.resolve()
    return {place for place in map(_place, paths) if not place.is_relative_to(root)}


@cache
def _place(path: Path) -> Path:
    """The folder in which a file lies, links followed; cached, because records are made for every checkpoint."""
    return path.resolve().parent


def folder_name(folder: Path) -> str:
    """A folder as records name it: by its last three parts, without the path of a home."""
    return "/".join(folder.resolve().parts[-3:])


def load_frames(
    name: str,
    folder: Path,
    cache: Path,
    height: int,
    crop: tuple[int, int],
    width: int | None = None,
    square: bool = False,
    strict: bool = False,
    without: Set[str] = frozenset(),
) -> Frames:
    """Decode every image in `folder` and its sub-folders once, resized to `height` rows, into a file in `cache`.

    The aspect ratio is kept, unless `width` is given; `square` takes centre squares. The cache is reused as long as the
    paths, file sizes, modification times and the requested size are the same. Images that cannot be read, and frames
    smaller than `crop` (rows, columns), are left out with a warning. `without`: images that are not wanted, by their
    path inside the folder, with slashes. Raises `BadInput` for a missing or empty folder, if no image is usable, and
    with `strict` if any is unusable.
    """
    paths = [path for path in find_frames(name, folder) if path.relative_to(folder).as_posix() not in without]
    size = (height, "square") if square else (height,) if width is None else (height, width)
    stamps = [_stamp(path) for path in paths]
    key = fingerprint_bytes(json.dumps([[*stamp, *size] for stamp in stamps]).encode())
    index_file, pixel_file = cache / f"{name}-{key}.json", cache / f"{name}-{key}.u8"
    entries = _read_cache(index_file, pixel_file, len(paths))
    if entries is None:
        make_out_folder(cache)
        decode = partial(_decode_resized, height=height, width=width, square=square)
        entries = _write_cache(paths, pixel_file, index_file, decode)
    reasons = [_reason_unusable(path, entry, crop) for path, entry in zip(paths, entries, strict=True)]
    left_out = LeftOut({path: why for path, why in zip(paths, reasons, strict=True) if why})
    left_out.report(folder, len(paths), strict)
    sizes = tuple((0, 0) if isinstance(entry, str) else (entry[0], entry[1]) for entry in entries)
    starts = np.concatenate([[0], np.cumsum([h * w * 3 for h, w in sizes])]).tolist()
    # Copy-on-write: torch wants a writable array, and the file must not change.
    pixels = torch.from_numpy(np.memmap(pixel_file, dtype=np.uint8, mode="c"))
    every = Frames(name, folder, tuple(paths), pixels, tuple(starts[:-1]), sizes, left_out, tuple(s[1] for s in stamps))
    return every.take([index for index, why in enumerate(reasons) if not why])


def find_frames(name: str, folder: Path) -> list[Path]:
    """The images of a domain. Raises `BadInput` for a missing or empty folder."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; the {name} domain must be a folder of images.")
    paths = find_stills(folder)
    if not paths:
        raise BadInput(f"{folder}: no images for the {name} domain; it needs jpg, png, webp, bmp or tiff files.")
    return paths


def reasons_unusable(paths: Sequence[Path], height: int, crop: tuple[int, int]) -> list[str]:
    """For each of these images that `load_frames` would leave out, a sentence that says why."""
    frames = ((path, _decode_resized(path, height)) for path in paths)
    entries = ((path, frame if isinstance(frame, str) else list(frame.shape[:2])) for path, frame in frames)
    return [why for path, entry in entries if (why := _reason_unusable(path, entry, crop))]


Entry = list[int] | str
"""Entry of the cache's index for one image: its height and width, or why it cannot be read."""


def _stamp(path: Path) -> tuple[str, int, int]:
    """Path, size and modification time, by which the cache knows a file; -1 for a file that has just vanished."""
    try:
        status = path.stat()
    except OSError:
        return str(path), -1, -1
    return str(path), status.st_size, status.st_mtime_ns


def _read_cache(index_file: Path, pixel_file: Path, count: int) -> list[Entry] | None:
    """The entries of a cache of `count` images; None if there is none or it is damaged."""
    if not index_file.is_file():  # none, or a pipe, which would never end
        return None
    try:
        entries: list[Entry] = json.loads(index_file.read_text())
        pixels = sum(entry[0] * entry[1] * 3 for entry in entries if not isinstance(entry, str))
        return entries if len(entries) == count and pixel_file.stat().st_size == pixels else None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _write_cache(
    paths: Sequence[Path], pixel_file: Path, index_file: Path, decode: Callable[[Path], NDArray[np.uint8] | str]
) -> list[Entry]:
    entries: list[Entry] = []
    sweep(pixel_file.parent)
    with ThreadPoolExecutor() as pool, write_atomically(pixel_file) as partial_file, partial_file.open("wb") as out:
        decoded = map_ahead(pool, decode, paths, window=64)
        name = f"decoding {pixel_file.stem.split('-')[0]}"
        for frame in progress_bar(decoded, total=len(paths), desc=name, leave=False):
            if isinstance(frame, str):
                entries.append(frame)
            else:
                entries.append(list(frame.shape[:2]))
                out.write(frame.tobytes())
    with write_atomically(index_file) as partial_file:
        partial_file.write_text(json.dumps(entries))
    return entries


def _decode_resized(path: Path, height: int, width: int | None = None, square: bool = False) -> NDArray[np.uint8] | str:
    """The image or its centre square at `height` rows, keeping the aspect ratio unless `width` is given.

    Returns the error text if it cannot be read.
    """
    try:
        rgb = decode_still(path).rgb
    except BadInput as error:
        return str(error)
    if square:
        rgb = middle_square(rgb)
    elif width is None and rgb.shape[1] > MAX_WIDTH * rgb.shape[0]:
        return f"{path}: {rgb.shape[1]}x{rgb.shape[0]} is more than {MAX_WIDTH} times as wide as high."
    return at_rows(rgb, height, width)


def _reason_unusable(path: Path, entry: Entry, crop: tuple[int, int]) -> str:
    """Why an image cannot be used; empty if it can."""
    if isinstance(entry, str):
        return entry
    height, width = entry
    if height >= crop[0] and width >= crop[1]:
        return ""
    return (
        f"{path}: {width}x{height} at load_height, smaller than the crop of "
        f"{crop[1]}x{crop[0]}; set a smaller crop or a larger load_height to use it."
    )


def frames_on(frames: Frames, device: torch.device) -> Frames:
    """The frames on a CUDA device if they take less than a quarter of its free memory, else as they are."""
    if device.type != "cuda" or frames.pixels.numel() > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return frames
    return replace(frames, pixels=frames.pixels.to(device))
