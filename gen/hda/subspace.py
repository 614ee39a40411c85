"""The affine subspace that a domain's few reference images span in the features of an encoder.

Li et al., "Few-shot Hybrid Domain Adaptation of Image Generators", ICLR 2024 (arXiv 2310.19378), figure 2: a flat
through the mean of the references. What lies in it is variation within the domain; the way to it is perpendicular.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

TOLERANCE = 1e-6
"""Singular values below this share of the largest one do not count."""


@dataclass(frozen=True)
class Flat:
    """An affine subspace of R^d: the points mean + basis t."""

    mean: Tensor
    """(d,)."""
    basis: Tensor
    """(d, r), orthonormal columns; r = 0 is the mean point alone."""

    @property
    def rank(self) -> int:
        """Its dimension r."""
        return self.basis.shape[1]

    def project(self, features: Tensor) -> Tensor:
        """Features (B, d) -> the nearest points of the flat, f* = mean + (f - mean) B B^T, (B, d)."""
        return self.mean + (features - self.mean) @ self.basis @ self.basis.T

    def perpendicular(self, features: Tensor) -> Tensor:
        """Features (B, d) -> f* - f, (B, d): the shortest way to the flat."""
        return self.project(features) - features

    def distance(self, features: Tensor) -> Tensor:
        """Features (B, d) -> |f* - f|, (B,)."""
        return self.perpendicular(features).norm(dim=1)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Flat":
        """Moved or converted."""
        return replace(self, mean=self.mean.to(device, dtype), basis=self.basis.to(device, dtype))


def fit_flat(features: Tensor, rank: int | None = None, linear: bool = False) -> Flat:
    """The flat through reference features (n, d), by SVD in float64: near-duplicates do not add directions.

    `rank` keeps only so many of the strongest directions: 0 leaves the mean point, which is the usual few-shot target.
    `linear` spans from the origin instead of the mean; such a space is blind to how far a feature reaches.
    """
    x = features.double()
    mean = torch.zeros_like(x[0]) if linear else x.mean(0)
    _, strengths, directions = torch.linalg.svd(x - mean, full_matrices=False)
    # References that are all equal leave rounding when centred, not directions; their own size tells.
    kept = int((strengths > TOLERANCE * torch.maximum(strengths[0], TOLERANCE * x.norm())).sum())
    return Flat(mean, directions[: kept if rank is None else min(kept, rank)].T.contiguous())


def singular_spread(features: Tensor) -> float:
    """Smallest singular value that centred references (n >= 2, d) should have, over the largest: 0 = duplicates."""
    x = features.double()
    strengths = torch.linalg.svdvals(x - x.mean(0))[: len(x) - 1]
    return float(strengths[-1] / strengths[0]) if strengths[0] > 0 else 0.0


def principal_angles(a: Flat, b: Flat) -> Tensor:
    """Angles between the directions of two flats, in degrees, ascending, (min(r_a, r_b),)."""
    cosines = torch.linalg.svdvals(a.basis.T @ b.basis)
    return torch.rad2deg(torch.acos(cosines.clamp(0, 1)))


def agreement(a: Flat, b: Flat, features: Tensor) -> float:
    """Mean cosine between the ways from source features (B, d) to two flats; below -0.2 the domains pull apart."""
    return float(torch.cosine_similarity(a.perpendicular(features), b.perpendicular(features)).mean())


def nearest_point(flats: list[Flat], weights: list[float]) -> Tensor:
    """The point (d,) with the least weighted sum of squared distances: (sum a_i Q_i)^+ sum a_i Q_i mean_i.

    Where the distance losses alone would take a feature that moved freely.
    """
    size = len(flats[0].mean)
    matrix, vector = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for flat, weight in zip(flats, weights, strict=True):
        flat = flat.to(dtype=torch.float64, device="cpu")
        outside = torch.eye(size, dtype=torch.float64) - flat.basis @ flat.basis.T
        matrix += weight * outside
        vector += weight * outside @ flat.mean
    return torch.linalg.pinv(matrix, hermitian=True) @ vector
