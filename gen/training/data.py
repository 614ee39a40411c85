"""Image folders as training data, unpaired or paired: decoded once, kept as uint8, cropped and flipped on the device.

Every random choice is a pure function of (seed, number of the image shown). So nothing has to be saved to resume
exactly, and two processes draw between them what one process would draw alone.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kornia.geometry.transform import hflip
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from gen.errors import BadInput
from gen.media.ahead import map_ahead
from gen.media.files import sweep, write_atomically
from gen.media.folders import find_stills
from gen.media.images import at_rows, decode_still, middle_square
from gen.media.resize import to_float
from gen.provenance import fingerprint_bytes

log = logging.getLogger(__name__)

DEVICE_SHARE = 0.25
"""Part of the free device memory that cached frames may take."""

NAMED = 20
"""Pictures that a message names; of the others it tells how many they are."""


@dataclass(frozen=True)
class Frames:
    """Decoded frames of one domain: their pixels one after the other, and where each begins."""

    name: str
    folder: Path
    paths: tuple[Path, ...]
    pixels: Tensor
    """uint8, flat: frame i is `pixels[starts[i]:][: h * w * 3]` as (h, w, 3)."""
    starts: tuple[int, ...]
    sizes: tuple[tuple[int, int], ...]
    """Height and width of each frame, in pixels, as cached."""
    left_out: Mapping[Path, str] = field(default_factory=dict[Path, str])
    """Pictures of the folder that are not among these, and why: a sentence that names the file."""

    def __len__(self) -> int:
        return len(self.paths)

    def frame(self, index: int) -> Tensor:
        """Frame `index` as uint8 (3, h, w): a view, not a copy."""
        height, width = self.sizes[index]
        start = self.starts[index]
        return self.pixels[start : start + height * width * 3].view(height, width, 3).permute(2, 0, 1)

    def take(self, places: Sequence[int]) -> "Frames":
        """The frames of these numbers, in this order."""
        paths, starts, sizes = (tuple(v[i] for i in places) for v in (self.paths, self.starts, self.sizes))
        return replace(self, paths=paths, starts=starts, sizes=sizes)

    def summary(self) -> dict[str, Any]:
        """For the record: the folder's name, the count, and the most common size (height, width) as cached.

        And how many pictures were left out, where some were: earlier records have no such entry.
        """
        record: dict[str, Any] = {
            "folder": "/".join(self.folder.resolve().parts[-3:]),
            "count": len(self),
            "cached_size": list(Counter(self.sizes).most_common(1)[0][0]),
        }
        return record | ({"left_out": len(self.left_out)} if self.left_out else {})


def load_frames(
    name: str,
    folder: Path,
    cache: Path,
    height: int,
    crop: tuple[int, int],
    width: int | None = None,
    square: bool = False,
    strict: bool = False,
) -> Frames:
    """Decode every still below `folder` once, resized to `height` rows at its own aspect, into a file in `cache`.

    With `width` all are squashed to height x width; with `square` their middle squares are taken. The cache is used
    again when the files, their lengths and times and the size are the same. Pictures that cannot be read, and frames
    smaller than `crop` (rows, columns), are named in a warning and left out. Raises `BadInput` for a missing or empty
    folder, where nothing is left, and with `strict` for the first picture that would be left out.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: the {name} domain must be a folder of images, and there is none of that name.")
    paths = find_stills(folder)
    if not paths:
        raise BadInput(f"{folder}: no images for the {name} domain; jpg, png, webp, bmp or tiff files are needed.")
    size = (height, "square") if square else (height,) if width is None else (height, width)
    stamp = [[str(p), p.stat().st_size, p.stat().st_mtime_ns, *size] for p in paths]
    key = fingerprint_bytes(json.dumps(stamp).encode())
    index_file, pixel_file = cache / f"{name}-{key}.json", cache / f"{name}-{key}.u8"
    if not index_file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _write_cache(paths, pixel_file, index_file, partial(_decode_resized, height=height, width=width, square=square))
    entries: list[Entry] = json.loads(index_file.read_text())
    found = [_why_not(path, entry, crop) for path, entry in zip(paths, entries, strict=True)]
    left_out = {path: why for path, why in zip(paths, found, strict=True) if why}
    _tell_left_out(folder, len(paths), left_out, strict)
    sizes = tuple((0, 0) if isinstance(entry, str) else (entry[0], entry[1]) for entry in entries)
    starts = np.concatenate([[0], np.cumsum([h * w * 3 for h, w in sizes])]).tolist()
    # Mapped copy-on-write: torch wants a writable array, and nothing of ours reaches the file.
    pixels = torch.from_numpy(np.memmap(pixel_file, dtype=np.uint8, mode="c"))
    every = Frames(name, folder, tuple(paths), pixels, tuple(starts[:-1]), sizes, left_out)
    return every.take([place for place, why in enumerate(found) if not why])


Entry = list[int] | str
"""Of the cache's index, one a picture: its height and width, or why it cannot be read."""


def _write_cache(
    paths: Sequence[Path], pixel_file: Path, index_file: Path, decode: Callable[[Path], NDArray[np.uint8] | str]
) -> None:
    entries: list[Entry] = []
    sweep(pixel_file.parent)
    with ThreadPoolExecutor() as pool, write_atomically(pixel_file) as partial_file, partial_file.open("wb") as out:
        decoded = map_ahead(pool, decode, paths, window=64)
        name = f"decoding {pixel_file.stem.split('-')[0]}"
        for frame in tqdm(decoded, total=len(paths), desc=name, leave=False, disable=None):
            if isinstance(frame, str):
                entries.append(frame)
            else:
                entries.append(list(frame.shape[:2]))
                out.write(frame.tobytes())
    with write_atomically(index_file) as partial_file:
        partial_file.write_text(json.dumps(entries))


def _decode_resized(path: Path, height: int, width: int | None = None, square: bool = False) -> NDArray[np.uint8] | str:
    """The frame, or its middle square, at `height` rows, at its own aspect unless `width` is given; or why it cannot
    be read."""
    try:
        rgb = decode_still(path).rgb
    except BadInput as error:
        return str(error)
    if square:
        rgb = middle_square(rgb)
    return at_rows(rgb, height, width)


def _why_not(path: Path, entry: Entry, crop: tuple[int, int]) -> str:
    """Why a picture cannot be trained on; empty where it can."""
    if isinstance(entry, str):
        return entry
    height, width = entry
    if height >= crop[0] and width >= crop[1]:
        return ""
    return (
        f"{path}: at the loading height the frame is {width}x{height}, smaller than the crop of "
        f"{crop[1]}x{crop[0]}; set a smaller crop or a larger load_height to use it."
    )


def _tell_left_out(folder: Path, count: int, left_out: Mapping[Path, str], strict: bool = False) -> None:
    """Name what is left out of a folder's `count` pictures. Raises `BadInput` if it is all, or any and `strict`."""
    if not left_out:
        return
    named = "".join(f"\n  {why}" for why in list(left_out.values())[:NAMED])
    more = f"\n  and {len(left_out) - NAMED} more" if len(left_out) > NAMED else ""
    if len(left_out) == count:
        raise BadInput(f"{folder}: none of its {count} pictures can be used:{named}{more}")
    if strict:
        raise BadInput(
            f"{folder}: {len(left_out)} of {count} pictures cannot be used; repair them or take them away, or train "
            f"without --strict (strict=false), which leaves them out:{named}{more}"
        )
    log.warning(f"{folder}: {len(left_out)} of {count} pictures cannot be used and are left out:{named}{more}")


@dataclass(frozen=True)
class Batch:
    """One batch: images of each domain, and the random seeds that belong to its samples."""

    adverse: Tensor
    """(B, 3, H, W) in [-1, 1]."""
    normal: Tensor
    seeds: tuple[int, ...]
    """One 63-bit seed a sample, for whatever else is random about it."""
    paired: tuple[bool, ...]
    """Whether a sample's two images show the same moment, pixel by pixel."""


@dataclass(frozen=True)
class Pairs:
    """Frames of two domains that show the same moments: frame i of one is frame i of the other."""

    adverse: Frames
    normal: Frames
    share: float
    """Part of the samples that are drawn from these, 0..1."""


def match_pairs(adverse: Frames, normal: Frames, share: float) -> Pairs:
    """Pairs of equal file names; several adverse frames may have the same normal one.

    A frame whose normal one was left out of `normal` is left out too, with a warning. Raises `BadInput` for an adverse
    frame without its normal one, or of another size, and where no pair is left.
    """
    adverse = _without_lost_partners(adverse, normal)
    places = {path.stem: index for index, path in enumerate(normal.paths)}
    for path, size in zip(adverse.paths, adverse.sizes, strict=True):
        if path.stem not in places:
            raise BadInput(f"{path}: {normal.folder} holds no frame named {path.stem}, which would make it a pair.")
        if size != normal.sizes[places[path.stem]]:
            raise BadInput(f"{path}: its frame in {normal.folder} has another shape; render both anew.")
    return Pairs(adverse, normal.take([places[path.stem] for path in adverse.paths]), share)


def _without_lost_partners(adverse: Frames, normal: Frames) -> Frames:
    """`adverse` less the frames whose partners cannot be used."""
    lost = {path.stem: path for path in normal.left_out}
    alone = {p: f"{p}: its partner {lost[p.stem]} cannot be used." for p in adverse.paths if p.stem in lost}
    _tell_left_out(adverse.folder, len(adverse), alone)
    kept = adverse.take([place for place, path in enumerate(adverse.paths) if path not in alone])
    return replace(kept, left_out={**adverse.left_out, **alone})


class UnpairedData:
    """Two domains of frames, drawn independently: own order, own crop, own flip for each.

    With `pairs`, their shares of the samples are drawn from them, each with one crop and flip for both.
    """

    def __init__(
        self, adverse: Frames, normal: Frames, crop: tuple[int, int], seed: int, device: torch.device,
        pairs: Sequence[Pairs] = (),
    ) -> None:  # fmt: skip
        """Frames move to a CUDA device when they take less than a quarter of its free memory."""
        self.adverse, self.normal = (_to_device(f, device) for f in (adverse, normal))
        self.pairs = tuple(pairs)
        self.crop, self.seed, self.device = crop, seed, device
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def batch(
        self,
        samples: Sequence[int],
        layout: torch.memory_format = torch.preserve_format,
        only_pairs: bool = False,
    ) -> Batch:
        """The batch of these numbers of the run's endless sequence of samples; `only_pairs`: no unpaired ones."""
        drawn = [np.random.default_rng((self.seed, sample)) for sample in samples]
        sources = [self._choose(rng, only_pairs) for rng in drawn]
        domains = [
            torch.cat([self._draw(*what, salt) for what in zip(drawn, samples, sources, strict=True)])
            for salt in (0, 1)
        ]
        moved = (d.to(self.device, non_blocking=True, memory_format=layout) for d in domains)
        adverse, normal = (to_float(d) for d in moved)
        paired = tuple(source is not None for source in sources)
        return Batch(adverse, normal, tuple(int(rng.integers(2**63)) for rng in drawn), paired)

    def _choose(self, rng: np.random.Generator, only_pairs: bool) -> Pairs | None:
        """The pairs that a sample is drawn from, by their shares; None: it is unpaired."""
        if not self.pairs:
            return None
        place = rng.random() * (sum(pairs.share for pairs in self.pairs) if only_pairs else 1)
        for pairs in self.pairs:
            if place < pairs.share:
                return pairs
            place -= pairs.share
        return self.pairs[-1] if only_pairs else None

    def _draw(self, rng: np.random.Generator, sample: int, pairs: Pairs | None, salt: int) -> Tensor:
        """One cropped, perhaps flipped frame of the adverse (0) or normal (1) domain, uint8 (1, 3, H, W)."""
        if pairs is not None:
            own = np.random.default_rng((self.seed, sample, 2))  # the same for both domains
            frames = (pairs.adverse, pairs.normal)[salt]
            return self._cut(frames.frame(int(own.integers(len(frames)))), own).to(self.adverse.pixels.device)
        frames = (self.adverse, self.normal)[salt]
        epoch, place = divmod(sample, len(frames))
        return self._cut(frames.frame(int(self._order(len(frames), epoch, salt)[place])), rng)

    def _cut(self, frame: Tensor, rng: np.random.Generator) -> Tensor:
        """A random crop of a frame (3, h, w), flipped in half of the cases."""
        top, left = (int(rng.integers(have - want + 1)) for have, want in zip(frame.shape[1:], self.crop, strict=True))
        crop = frame[None, :, top : top + self.crop[0], left : left + self.crop[1]]
        return hflip(crop) if rng.random() < 0.5 else crop

    def _order(self, count: int, epoch: int, salt: int) -> NDArray[np.int64]:
        """The permutation of `count` frames in this epoch, its own for each domain."""
        if self._orders.get(salt, (-1,))[0] != epoch:
            permutation = np.random.default_rng((self.seed, epoch, salt, 1)).permutation(count)
            self._orders[salt] = (epoch, permutation)
        return self._orders[salt][1]


class ImageData:
    """One domain of square images, whole, flipped in half of the cases if `flip`."""

    def __init__(self, frames: Frames, size: int, seed: int, device: torch.device, flip: bool = True) -> None:
        """`frames` cached as squares of `size`."""
        self.frames = _to_device(frames, device)
        self.size, self.seed, self.device, self.flip = size, seed, device, flip
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, samples: Sequence[int]) -> Tensor:
        """Images (B, 3, size, size) in [-1, 1] of these numbers of the run's endless sequence of samples."""
        images = torch.stack([self._draw(sample) for sample in samples])
        return to_float(images.to(self.device, non_blocking=True))

    def _draw(self, sample: int) -> Tensor:
        epoch, place = divmod(sample, len(self.frames))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.frames)))
        image = self.image(int(self._order[1][place]))
        return hflip(image) if self.flip and np.random.default_rng((self.seed, sample, 3)).random() < 0.5 else image

    def image(self, index: int) -> Tensor:
        """Image `index`, not flipped, uint8 (3, size, size)."""
        return self.frames.frame(index)


def _to_device(frames: Frames, device: torch.device) -> Frames:
    if device.type != "cuda" or frames.pixels.numel() > DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
        return frames
    return replace(frames, pixels=frames.pixels.to(device))
