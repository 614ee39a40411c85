"""Properties of the affine subspace, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from gen.hda.subspace import AffineSubspace, fit_subspace, mean_cosine, nearest_point, principal_angles, singular_spread

D, N = 512, 10


def features(seed: int, count: int = N, size: int = D) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, size, generator=random, dtype=torch.float64) + 0.5
    return x / x.norm(dim=1, keepdim=True)


def slow_projection(flat_points: Tensor, x: Tensor) -> Tensor:
    """The nearest affine combination of the points by least squares, without SVD or basis."""
    base, spans = flat_points[0], (flat_points[1:] - flat_points[0]).T
    return base + spans @ torch.linalg.lstsq(spans, x - base).solution


class TestFlat:
    def test_basis_is_orthonormal_and_full(self) -> None:
        subspace = fit_subspace(features(0))
        assert subspace.rank == N - 1
        torch.testing.assert_close(
            subspace.basis.T @ subspace.basis, torch.eye(N - 1, dtype=torch.float64), atol=1e-13, rtol=0
        )

    def test_projection_is_the_nearest_affine_combination(self) -> None:
        points, x = features(0), features(1, 3)
        subspace = fit_subspace(points)
        expected = torch.stack([slow_projection(points, one) for one in x])
        torch.testing.assert_close(subspace.project(x), expected, atol=1e-12, rtol=0)
        torch.testing.assert_close(subspace.project(subspace.project(x)), subspace.project(x), atol=1e-14, rtol=0)

    def test_references_and_their_combinations_lie_in_it(self) -> None:
        points = features(0)
        subspace = fit_subspace(points)
        mixed = torch.randn(20, N, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        mixed = mixed + (1 - mixed.sum(1, keepdim=True)) / N  # sums of one, extrapolation included
        assert subspace.distance(points).max() < 1e-13
        assert subspace.distance(mixed @ points).max() < 1e-12

    def test_only_the_linear_one_contains_the_origin(self) -> None:
        zero = torch.zeros(1, D, dtype=torch.float64)
        assert fit_subspace(features(0)).distance(zero) > 0.1
        assert fit_subspace(features(0), linear=True).distance(zero) == 0

    def test_invariant_to_rotation_and_shift(self) -> None:
        points, x = features(0), features(1)
        rotation = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))).Q
        shift = features(2, 1)
        there = fit_subspace(points @ rotation + shift).distance(x @ rotation + shift)
        torch.testing.assert_close(there, fit_subspace(points).distance(x), atol=1e-13, rtol=0)

    def test_neither_order_nor_duplicates_change_it(self) -> None:
        points, x = features(0), features(1)
        distance = fit_subspace(points).distance(x)
        for other in (points.flip(0), points.repeat(2, 1), torch.cat([points, points[:3]])):
            subspace = fit_subspace(other)
            assert subspace.rank == N - 1
            torch.testing.assert_close(subspace.distance(x), distance, atol=1e-12, rtol=0)

    def test_one_reference_is_a_point(self) -> None:
        point, x = features(0, 1), features(1)
        subspace = fit_subspace(point)
        assert subspace.rank == 0
        torch.testing.assert_close(subspace.project(x), point.expand_as(x))

    def test_equal_references_are_a_point_whatever_the_rounding(self) -> None:
        assert fit_subspace(features(0, 1).repeat(7, 1) * (1 / 3)).rank == 0

    def test_rank_keeps_the_strongest_directions(self) -> None:
        points = features(0)
        x = points - points.mean(0)
        assert fit_subspace(points, rank=0).rank == 0
        kept = fit_subspace(points, rank=3)
        # Eckart and Young: no three directions leave less of the points.
        left = x - x @ kept.basis @ kept.basis.T
        expected = float(torch.linalg.svdvals(x)[3:].square().sum())
        assert float(left.square().sum()) == pytest.approx(expected, rel=1e-10)

    @given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 12))
    @settings(max_examples=40, deadline=None)
    def test_perpendicular_to_every_direction_of_the_references(self, seed: int, count: int, size: int) -> None:
        points, x = features(seed, count, size), features(seed + 1, 4, size)
        way = fit_subspace(points).perpendicular(x)
        assert (way @ (points - points[0]).T).abs().max() < 1e-9


class TestBetweenDomains:
    def test_principal_angles_of_known_planes(self) -> None:
        e = torch.eye(4, dtype=torch.float64)
        angle = torch.tensor(0.3, dtype=torch.float64)
        a = AffineSubspace(e[0], e[:, :2])
        b = AffineSubspace(e[1], torch.stack([e[0], e[1] * angle.cos() + e[2] * angle.sin()], 1))
        expected = torch.rad2deg(torch.stack([torch.zeros_like(angle), angle]))
        torch.testing.assert_close(principal_angles(a, b), expected, atol=1e-5, rtol=0)

    def test_mean_cosine_of_opposite_and_equal_directions(self) -> None:
        e = torch.eye(3, dtype=torch.float64)
        none = torch.zeros(3, 0, dtype=torch.float64)
        source = torch.zeros(5, 3, dtype=torch.float64)
        assert mean_cosine(AffineSubspace(e[0], none), AffineSubspace(-e[0], none), source) == pytest.approx(-1)
        assert mean_cosine(AffineSubspace(e[0], none), AffineSubspace(2 * e[0], none), source) == pytest.approx(1)

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_nearest_point_equals_numerical_minimum(self, count: int) -> None:
        subspaces = [fit_subspace(features(seed, 4, 12)) for seed in range(count)]
        weights = [0.5, 0.2, 0.3][:count]

        def loss(x: Tensor) -> Tensor:
            return sum(
                (w * f.distance(x[None])[0] ** 2 for f, w in zip(subspaces, weights, strict=True)), torch.zeros(())
            )

        def numbers(x: object) -> float:
            return float(loss(torch.as_tensor(x, dtype=torch.float64)))

        best = minimize(numbers, torch.zeros(12).double().numpy(), method="BFGS", options={"gtol": 1e-9})
        assert float(loss(nearest_point(subspaces, weights))) == pytest.approx(best.fun, abs=1e-9)

    def test_singular_spread_finds_near_duplicates(self) -> None:
        points = features(0)
        nearly = torch.cat([points[:9], points[:1] + 1e-6 * points[9:]])
        assert singular_spread(points) > 0.1
        assert singular_spread(nearly) < 1e-3


def test_float32_is_enough_for_training() -> None:
    points, x = features(0), features(1)
    single = fit_subspace(points.float()).to(dtype=torch.float32).distance(x.float())
    torch.testing.assert_close(single.double(), fit_subspace(points).distance(x), atol=1e-5, rtol=0)
