"""The affine subspace that a domain's few reference images span in the features of an encoder.

Li et al., "Few-shot Hybrid Domain Adaptation of Image Generators", ICLR 2024 (arXiv 2310.19378), figure 2: a subspace
through the mean of the references. Directions inside it are variation within the domain; the shortest way to the
domain is perpendicular to it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

TOLERANCE = 1e-6
"""Singular values below this share of the largest one count as zero."""


@dataclass(frozen=True)
class AffineSubspace:
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
        """Features (B, d) -> the nearest points of the subspace, f* = mean + (f - mean) B B^T, (B, d)."""
        return self.mean + (features - self.mean) @ self.basis @ self.basis.T

    def perpendicular(self, features: Tensor) -> Tensor:
        """Features (B, d) -> f* - f, (B, d): the shortest way to the subspace."""
        return self.project(features) - features

    def distance(self, features: Tensor) -> Tensor:
        """Features (B, d) -> |f* - f|, (B,)."""
        return self.perpendicular(features).norm(dim=1)

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "AffineSubspace":
        """A copy on another device or in another dtype."""
        return replace(self, mean=self.mean.to(device, dtype), basis=self.basis.to(device, dtype))


def fit_subspace(features: Tensor, rank: int | None = None, linear: bool = False) -> AffineSubspace:
    """The subspace through reference features (n, d): mean and B = right singular vectors of (features - mean).

    `rank` keeps only that many of the strongest directions; 0 leaves the mean point, the usual few-shot target.
    `linear` spans the subspace from the origin instead of the mean; it then contains every multiple of its points, so
    the length of a feature does not count. For comparison only.
    """
    x = features.double()  # near-duplicates give tiny singular values, which float32 cannot tell from rounding
    mean = torch.zeros_like(x[0]) if linear else x.mean(0)
    _, strengths, directions = torch.linalg.svd(x - mean, full_matrices=False)
    # If all references are equal, the centred ones are rounding errors, and so is the largest singular value. Hence
    # the second bound, relative to the references themselves.
    kept = int((strengths > TOLERANCE * torch.maximum(strengths[0], TOLERANCE * x.norm())).sum())
    return AffineSubspace(mean, directions[: kept if rank is None else min(kept, rank)].T.contiguous())


def singular_spread(features: Tensor) -> float:
    """Smallest over largest singular value of the centred references (n >= 2, d); 0 where some are duplicates."""
    x = features.double()
    # n centred points span n - 1 dimensions at most, so the n-th singular value is always zero.
    strengths = torch.linalg.svdvals(x - x.mean(0))[: len(x) - 1]
    return float(strengths[-1] / strengths[0]) if strengths[0] > 0 else 0.0


def principal_angles(a: AffineSubspace, b: AffineSubspace) -> Tensor:
    """Principal angles between the directions of two subspaces, in degrees, ascending, (min(r_a, r_b),)."""
    cosines = torch.linalg.svdvals(a.basis.T @ b.basis)
    return torch.rad2deg(torch.acos(cosines.clamp(0, 1)))


def mean_cosine(a: AffineSubspace, b: AffineSubspace, features: Tensor) -> float:
    """Mean cosine between the perpendiculars from source features (B, d) to two subspaces.

    Near 1 both domains ask for the same change, below 0 for opposite ones.
    """
    return float(torch.cosine_similarity(a.perpendicular(features), b.perpendicular(features)).mean())


def nearest_point(subspaces: list[AffineSubspace], weights: list[float]) -> Tensor:
    """The point (d,) with the least weighted sum of squared distances: (sum a_i Q_i)^+ sum a_i Q_i mean_i.

    Q_i = I - B_i B_i^T. The distance losses alone would move an unconstrained feature to this point.
    """
    size = len(subspaces[0].mean)
    matrix, vector = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for subspace, weight in zip(subspaces, weights, strict=True):
        subspace = subspace.to(dtype=torch.float64, device="cpu")
        outside = torch.eye(size, dtype=torch.float64) - subspace.basis @ subspace.basis.T
        matrix += weight * outside
        vector += weight * outside @ subspace.mean
    return torch.linalg.pinv(matrix, hermitian=True) @ vector
