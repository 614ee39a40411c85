"""Frames as training data, unpaired or paired: cropped and flipped on load.

Every random choice is a pure function of (seed, sample number). So an exact resume needs no saved state, and several
processes together draw the same samples as one process.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from kornia.geometry.transform import hflip
from numpy.typing import NDArray
from torch import Tensor

from gen.media.left_out import LeftOut
from gen.media.resize import to_float
from gen.tensors import on_device
from gen.training.frames import Frames, frames_on


@dataclass(frozen=True)
class Batch:
    """One batch: images of each domain, and a random seed for each sample."""

    adverse: Tensor
    """(B, 3, H, W) in [-1, 1]."""
    normal: Tensor
    seeds: tuple[int, ...]
    """One 63-bit seed per sample, for other random choices of the trainer."""
    paired: tuple[bool, ...]
    """Whether a sample's two images show the same moment, pixel by pixel."""


@dataclass(frozen=True)
class Pairs:
    """Paired frames of two domains: frame i of both shows the same moment."""

    adverse: Frames
    normal: Frames
    share: float
    """Share of the samples drawn from these pairs, 0..1."""


def match_pairs(adverse: Frames, normal: Frames, share: float, strict: bool = False) -> Pairs:
    """Pair frames by file name without suffix; several adverse frames may share one normal frame.

    An adverse frame whose normal frame is missing, unusable, of another size or one of several of its name is left out
    with a warning. Raises `BadInput` if no pair is left, and with `strict` if any frame is left out.
    """
    count = Counter(path.stem for path in normal.paths)
    index_of = {path.stem: index for index, path in enumerate(normal.paths)}
    lost = {path.stem: path for path in normal.left_out}

    def reason(path: Path, size: tuple[int, int]) -> str:
        if path.stem in lost:
            return f"{path}: the paired frame {lost[path.stem]} cannot be used."
        if path.stem not in index_of:
            return f"{path}: no frame named {path.stem} in {normal.folder} to pair it with."
        if count[path.stem] > 1:
            return f"{path}: {count[path.stem]} frames in {normal.folder} are named {path.stem}; rename them."
        if size != normal.sizes[index_of[path.stem]]:
            return f"{path}: the paired frame in {normal.folder} has another shape; render both again."
        return ""

    reasons = [reason(path, size) for path, size in zip(adverse.paths, adverse.sizes, strict=True)]
    unpaired = LeftOut({path: why for path, why in zip(adverse.paths, reasons, strict=True) if why})
    unpaired.report(adverse.folder, len(adverse), strict)
    kept = adverse.take([index for index, why in enumerate(reasons) if not why])
    kept = replace(kept, left_out=LeftOut({**adverse.left_out, **unpaired}))
    return Pairs(kept, normal.take([index_of[path.stem] for path in kept.paths]), share)


class UnpairedData:
    """Two domains of frames, drawn independently: each has its own order, crops and flips.

    With `pairs`, their shares of the samples are drawn from them, with the same crop and flip for both frames.

    The published code uses one crop and flip for both unpaired frames; independent ones give more variety.
    """

    def __init__(
        self, adverse: Frames, normal: Frames, crop: tuple[int, int], seed: int, device: torch.device,
        pairs: Sequence[Pairs] = (),
    ) -> None:  # fmt: skip
        """Frames move to a CUDA device if they take less than a quarter of its free memory."""
        self.adverse, self.normal = (frames_on(f, device) for f in (adverse, normal))
        self.pairs = tuple(
            replace(pair, adverse=frames_on(pair.adverse, device), normal=frames_on(pair.normal, device))
            for pair in pairs
        )
        self.crop, self.seed, self.device = crop, seed, device
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def batch(
        self,
        samples: Sequence[int],
        layout: torch.memory_format = torch.preserve_format,
        only_pairs: bool = False,
    ) -> Batch:
        """The batch of these sample numbers (0, 1, ... over the whole run); `only_pairs`: only paired samples."""
        drawn = [np.random.default_rng((self.seed, sample)) for sample in samples]
        sources = [self._choose(rng, only_pairs) for rng in drawn]
        # Each crop on its way alone: of one domain or of the pairs, the frames may be on the device, of others not.
        domains = (
            [on_device(self._draw(*what, salt), self.device) for what in zip(drawn, samples, sources, strict=True)]
            for salt in (0, 1)
        )
        adverse, normal = (to_float(torch.cat(crops).to(memory_format=layout)) for crops in domains)
        paired = tuple(source is not None for source in sources)
        return Batch(adverse, normal, tuple(int(rng.integers(2**63)) for rng in drawn), paired)

    def _choose(self, rng: np.random.Generator, only_pairs: bool) -> Pairs | None:
        """The pairs that a sample is drawn from, chosen by their shares; None for an unpaired sample."""
        if not self.pairs:
            return None
        draw = rng.random() * (sum(pairs.share for pairs in self.pairs) if only_pairs else 1)
        for pairs in self.pairs:
            if draw < pairs.share:
                return pairs
            draw -= pairs.share
        return self.pairs[-1] if only_pairs else None

    def _draw(self, rng: np.random.Generator, sample: int, pairs: Pairs | None, salt: int) -> Tensor:
        """One randomly cropped and flipped frame of the adverse (0) or normal (1) domain, uint8 (1, 3, H, W)."""
        if pairs is not None:
            own = np.random.default_rng((self.seed, sample, 2))  # the same for both domains
            frames = (pairs.adverse, pairs.normal)[salt]
            return self._cut(frames.frame(int(own.integers(len(frames)))), own)
        frames = (self.adverse, self.normal)[salt]
        epoch, position = divmod(sample, len(frames))
        return self._cut(frames.frame(int(self._order(len(frames), epoch, salt)[position])), rng)

    def _cut(self, frame: Tensor, rng: np.random.Generator) -> Tensor:
        """A random crop of a frame (3, h, w), flipped with probability 0.5."""
        top, left = (int(rng.integers(have - want + 1)) for have, want in zip(frame.shape[1:], self.crop, strict=True))
        crop = frame[None, :, top : top + self.crop[0], left : left + self.crop[1]]
        return hflip(crop) if rng.random() < 0.5 else crop

    def _order(self, count: int, epoch: int, salt: int) -> NDArray[np.int64]:
        """The permutation of `count` frames in this epoch, different for each domain."""
        if self._orders.get(salt, (-1,))[0] != epoch:
            permutation = np.random.default_rng((self.seed, epoch, salt, 1)).permutation(count)
            self._orders[salt] = (epoch, permutation)
        return self._orders[salt][1]


class ImageData:
    """One domain of square images without crops; with `flip`, flipped with probability 0.5."""

    def __init__(self, frames: Frames, size: int, seed: int, device: torch.device, flip: bool = True) -> None:
        """`frames` cached as squares of `size`."""
        self.frames = frames_on(frames, device)
        self.size, self.seed, self.device, self.flip = size, seed, device, flip
        self._order: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, samples: Sequence[int]) -> Tensor:
        """Images (B, 3, size, size) in [-1, 1] of these sample numbers, which count from 0 over the whole run."""
        images = torch.stack([self._draw(sample) for sample in samples])
        return to_float(images.to(self.device, non_blocking=True))

    def _draw(self, sample: int) -> Tensor:
        epoch, position = divmod(sample, len(self.frames))
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.frames)))
        image = self.image(int(self._order[1][position]))
        return hflip(image) if self.flip and np.random.default_rng((self.seed, sample, 3)).random() < 0.5 else image

    def image(self, index: int) -> Tensor:
        """Image `index`, not flipped, uint8 (3, size, size)."""
        return self.frames.frame(index)
