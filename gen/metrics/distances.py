"""Fréchet and kernel distance between two sets of images, streamed through a feature network.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017 (Fréchet); Bińkowski et al.,
"Demystifying MMD GANs", ICLR 2018 (kernel). The kernel distance's arithmetic is torchmetrics'.
"""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from gen.errors import BadInput
from gen.media.folders import find_stills
from gen.media.images import decode_still
from gen.media.left_out import LeftOut
from gen.metrics.features import Features

T = TypeVar("T")


class Distance(NamedTuple):
    """How far apart two sets of images are in one feature space; 0 means the same distribution."""

    frechet: float
    """Squared Fréchet distance between the two fitted Gaussians; biased upwards by small sets."""
    kernel: float
    """Mean over subsets of the unbiased MMD²; may be slightly negative."""
    kernel_std: float | None
    """Standard deviation of that over the subsets; None where all subsets are the whole sets."""


class Population:
    """The features of a streamed set of images; 4 * num_features bytes per image stay in memory."""

    def __init__(self, network: Features) -> None:
        self.network = network
        self._features: list[Tensor] = []

    def add(self, frames: Tensor) -> None:
        """Add frames (B, H, W, 3), uint8, RGB, on any device; the network runs on its own device."""
        device = next(self.network.parameters()).device
        # On a CPU, four at a time: allocations of 32 MB and more get fresh pages each time, which doubles the cost.
        for part in frames.to(device).permute(0, 3, 1, 2).split(4 if device.type == "cpu" else len(frames)):
            self._features.append(self.network(part).cpu())

    def add_all(self, batches: Iterable[Tensor]) -> "Population":
        """Add every batch of `batches`, one at a time; returns itself."""
        for frames in batches:
            self.add(frames)
        return self

    @property
    def features(self) -> Tensor:
        """(N, num_features) float32 on the CPU, in the order in which they were added."""
        return torch.cat([torch.empty(0, self.network.num_features), *self._features])

    def __len__(self) -> int:
        return sum(len(features) for features in self._features)

    def distance(self, reference: "Population", subset_size: int = 100, seed: int = 0) -> Distance:
        """Distance of this set from `reference`. Raises `BadInput` if either has fewer than two images."""
        ours, theirs = self.features, reference.features
        kernel, std = kernel_distance(ours, theirs, subset_size=subset_size, seed=seed)
        return Distance(frechet_distance(ours, theirs), kernel, std)


class _PrecomputedFeatures(nn.Module):
    """The identity, passed to torchmetrics as its feature network: the features are computed once for all metrics."""

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mean a - mean b|² + tr(A + B - 2 (A B)^½), A and B the covariances, of features (N, D) and (M, D).

    With centred features X, Y and A = XᵀX, B = YᵀY, tr (A B)^½ is the nuclear norm of X Yᵀ. This needs no root of a
    singular matrix and is cheap if there are fewer images than features. torchmetrics' FID, which takes D x D complex
    eigenvalues, gives the same result far more slowly. Computed in float64. Raises `BadInput` for a set of fewer than
    two images.
    """
    _at_least_two(a, b)
    x, y = (_root_of_covariance(features.double()) for features in (a, b))
    means = (a.double().mean(0) - b.double().mean(0)).square().sum()
    nuclear = torch.linalg.svdvals(x @ y.T).sum()
    return (means + x.square().sum() + y.square().sum() - 2 * nuclear).item()


def _root_of_covariance(features: Tensor) -> Tensor:
    """Features (N, D) -> R (min(N, D), D) such that RᵀR is their unbiased covariance."""
    centred = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R


def kernel_distance(
    a: Tensor, b: Tensor, *, subset_size: int = 100, subsets: int = 100, seed: int = 0
) -> tuple[float, float | None]:
    """Mean and standard deviation over random subsets of the unbiased MMD² with k(x, y) = (x·y / D + 1)³.

    Features (N, D) and (M, D); subsets are no larger than the smaller set. Computed in float64. The same
    `seed` gives the same subsets; torch's global generator is left unchanged. The deviation is None if neither set is
    larger than a subset. Raises `BadInput` for fewer than two images.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    _at_least_two(a, b)
    size = min(subset_size, len(a), len(b))
    with warnings.catch_warnings():
        # It warns that it keeps all features in memory, where they are anyway.
        warnings.simplefilter("ignore", UserWarning)
        metric = KernelInceptionDistance(
            _PrecomputedFeatures(),
            subsets=subsets,
            subset_size=size,
            sync_on_compute=False,  # the first of several processes measures alone; the others would be waited for
        )
    metric.update(a.double(), real=False)
    metric.update(b.double(), real=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, std = metric.compute()
    return mean.item(), std.item() if max(len(a), len(b)) > size else None


def _at_least_two(a: Tensor, b: Tensor) -> None:
    if min(len(a), len(b)) < 2:
        raise BadInput(f"a distance needs at least two images in each set, not {len(a)} and {len(b)}.")


def list_images(folder: Path, limit: int | None = None) -> list[Path]:
    """The images in `folder` and its sub-folders, sorted; with `limit`, that many of them, evenly spaced.

    Raises `BadInput` if the folder does not exist or has no images.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder.")
    paths = find_stills(folder)
    if not paths:
        raise BadInput(f"{folder}: no images in this folder or its sub-folders.")
    return evenly(paths, limit)


def evenly(items: list[T], limit: int | None) -> list[T]:
    """So many of the items, evenly spaced; all if there are no more, or without a limit."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]


def read_frame(path: Path) -> Tensor:
    """The image as uint8 (H, W, 3). Raises `BadInput`."""
    return torch.from_numpy(decode_still(path).rgb)


def read_batches(paths: Iterable[Path], batch: int = 8, left_out: LeftOut | None = None) -> Iterator[Tensor]:
    """The images in order as uint8 batches (B, H, W, 3), B <= `batch`; all images of a batch have one size.

    Unreadable images are left out with a warning and added to `left_out`. Raises `BadInput` if none can be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    group: list[Tensor] = []
    read = 0
    for path in paths:
        image = left_out.read(path, read_frame)
        if image is None:
            continue
        read += 1
        if group and (len(group) == batch or image.shape != group[0].shape):
            yield torch.stack(group)
            group = []
        group.append(image)
    if group:
        yield torch.stack(group)
    if not read and left_out:
        raise BadInput(f"none of the images can be read:{left_out.listed()}")
