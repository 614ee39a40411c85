import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gen.hda import losses
from gen.hda.subspace import fit_subspace
from tests.hda.test_subspace import features

TINY = 1e-12
"""A smoothing too small to matter, except in the first step."""


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss, of)[0]


class TestDistance:
    def test_gradient_is_twice_the_residual_and_leaves_the_subspace_alone(self) -> None:
        subspace = fit_subspace(features(0))
        x = features(1, 1).requires_grad_(True)
        slope = gradient(losses.distance(x, subspace), x)
        residual = (x - subspace.project(x)).detach()
        torch.testing.assert_close(slope, 2 * residual, atol=1e-13, rtol=0)
        assert (slope @ subspace.basis).abs().max() < 1e-13

    def test_detaching_the_foot_changes_nothing(self) -> None:
        subspace = fit_subspace(features(0))
        x = features(1, 1).requires_grad_(True)
        detached = (x - subspace.project(x).detach()).square().sum()
        torch.testing.assert_close(gradient(losses.distance(x, subspace), x), gradient(detached, x), atol=1e-12, rtol=0)

    def test_is_the_mean_over_the_batch(self) -> None:
        subspace, x = fit_subspace(features(0)), features(1, 4)
        each = torch.stack([losses.distance(one[None], subspace) for one in x])
        torch.testing.assert_close(losses.distance(x, subspace), each.mean())


class TestFixedDirections:
    def test_their_weighted_sum_leads_along_unihdas_summed_direction(self) -> None:
        """sum alpha_i (1 - cos(m, d_i)) = 1 - |D| cos(m, D) with D = sum alpha_i d_i / |d_i|, in NumPy's float64."""
        rng = np.random.default_rng(0)
        source, adapted, directions = (rng.normal(size=(n, 20)) for n in (5, 5, 3))
        directions *= np.array([[0.01], [1.0], [40.0]])  # as far apart as those of words and of pictures, and more
        weights = [0.5, 0.2, 0.3]
        whole = sum(a * d / np.sqrt(d @ d) for a, d in zip(weights, directions, strict=True))
        length = np.sqrt(whole @ whole)
        cosines = [m @ whole / (np.sqrt(m @ m) * length) for m in adapted - source]
        f_s, f_t = torch.from_numpy(source), torch.from_numpy(adapted).requires_grad_(True)
        each = [losses.fixed_direction(f_s, f_t, torch.from_numpy(d), TINY) for d in directions]
        ours = torch.stack([a * term for a, term in zip(weights, each, strict=True)]).sum()
        assert float(ours.detach()) == pytest.approx(1 - length * np.mean(cosines), abs=1e-12)
        unihda = losses.fixed_direction(f_s, f_t, torch.from_numpy(whole), TINY)
        torch.testing.assert_close(gradient(ours, f_t), length * gradient(unihda, f_t), atol=1e-12, rtol=1e-9)


class TestDirection:
    def test_zero_along_the_perpendicular_and_two_beyond_the_foot(self) -> None:
        subspace, source = fit_subspace(features(0)), features(1)
        way = subspace.perpendicular(source)
        for share, expected in [(0.1, 0.0), (0.5, 0.0), (0.9, 0.0), (1.5, 2.0)]:
            value = losses.direction(source, source + share * way, subspace, TINY)
            assert float(value) == pytest.approx(expected, abs=1e-9)

    def test_movement_inside_the_subspace_gives_one(self) -> None:
        subspace, source = fit_subspace(features(0)), features(1)
        slide = (features(2) @ subspace.basis) @ subspace.basis.T
        assert float(losses.direction(source, source + slide, subspace, TINY)) == pytest.approx(1.0, abs=1e-9)

    def test_is_one_minus_the_cosine(self) -> None:
        subspace, source, adapted = fit_subspace(features(0)), features(1), features(2)
        moved, way = adapted - source, subspace.project(adapted) - adapted
        expected = (1 - F.cosine_similarity(moved, way)).mean()
        torch.testing.assert_close(losses.direction(source, adapted, subspace, TINY), expected)

    def test_anchors_differ_by_the_movement_off_the_subspace(self) -> None:
        """<D_st, D_tp> = <D_st, p> - |Q D_st|^2 with p the perpendicular from the source."""
        subspace, source, adapted = fit_subspace(features(0)), features(1), features(2)
        moved = adapted - source
        outside = moved - (moved @ subspace.basis) @ subspace.basis.T
        at_target = (moved * subspace.perpendicular(adapted)).sum(1)
        at_source = (moved * subspace.perpendicular(source)).sum(1)
        torch.testing.assert_close(at_target, at_source - outside.square().sum(1))
        assert losses.direction(source, adapted, subspace, TINY, "source") != losses.direction(
            source, adapted, subspace, TINY
        )

    def test_detaching_the_foot_changes_the_gradient(self) -> None:
        subspace, source = fit_subspace(features(0)), features(1, 1)
        x = features(2, 1).requires_grad_(True)
        free = gradient(losses.direction(source, x, subspace, TINY), x)
        held = gradient(losses.direction(source, x, subspace, TINY, detach=True), x)
        assert (free - held).norm() > 0.01 * free.norm()


class TestFirstStep:
    """In the first step both generators draw the same image, where the plain cosine is undefined."""

    def test_the_plain_cosine_explodes(self) -> None:
        subspace, source = fit_subspace(features(0)), features(1, 1)
        x = source.clone().requires_grad_(True)
        loss = 1 - F.cosine_similarity(x - source, subspace.project(x) - x).mean()
        assert gradient(loss, x).norm() > 1e7

    @pytest.mark.parametrize("delta", [0.1, 0.03, 0.01, 0.001])
    def test_the_smooth_one_is_bounded_by_one_over_delta(self, delta: float) -> None:
        subspace, source = fit_subspace(features(0)), features(1, 1)
        x = source.clone().requires_grad_(True)
        slope = gradient(losses.direction(source, x, subspace, delta), x).norm()
        assert 0.9 / delta < slope <= 1 / delta

    def test_the_smooth_one_pulls_towards_the_subspace(self) -> None:
        subspace, source = fit_subspace(features(0)), features(1, 1)
        x = source.clone().requires_grad_(True)
        slope = gradient(losses.direction(source, x, subspace, 0.03), x)
        assert F.cosine_similarity(-slope, subspace.perpendicular(source)) == pytest.approx(1.0, abs=1e-6)

    def test_adam_keeps_moving_after_the_first_step(self) -> None:
        """One huge gradient would stay in Adam's second moment and make all later steps tiny."""

        def travelled(delta: float | None) -> float:
            subspace, source = fit_subspace(features(0)), features(1, 1)
            x = torch.nn.Parameter(source.clone())
            adam = torch.optim.Adam([x], lr=1e-3, betas=(0.0, 0.99))
            for _ in range(60):
                if delta is None:
                    direction = 1 - F.cosine_similarity(x - source, subspace.project(x) - x).mean()
                else:
                    direction = losses.direction(source, x, subspace, delta)
                adam.zero_grad()
                (losses.distance(x, subspace) + direction).backward()
                adam.step()
            return float((x.detach() - source).norm())

        # The plain one makes its first step, lr * sqrt(512) long, and then stands still.
        assert travelled(None) < 0.2 * travelled(0.03)


class TestFixedDirection:
    def test_zero_along_it_two_against_it(self) -> None:
        source, towards = features(1), features(2, 1)[0]
        assert float(losses.fixed_direction(source, source + 0.3 * towards, towards, TINY)) == pytest.approx(
            0, abs=1e-9
        )
        assert float(losses.fixed_direction(source, source - 0.3 * towards, towards, TINY)) == pytest.approx(
            2, abs=1e-9
        )


class TestSpatialStructure:
    def test_equals_the_explicit_sum(self) -> None:
        random = torch.Generator().manual_seed(0)
        source, adapted = (torch.randn(2, 5, 7, generator=random, dtype=torch.float64) for _ in range(2))
        total = 0.0
        for image in range(2):
            for k in range(5):
                similar = [
                    float(F.cosine_similarity(adapted[image, k], source[image, place], dim=0) / 0.07)
                    for place in range(5)
                ]
                exps = torch.tensor(similar, dtype=torch.float64)
                total += float(torch.logsumexp(exps, 0) - exps[k])
        assert float(losses.spatial_structure(source, adapted)) == pytest.approx(total / 10, rel=1e-9)

    def test_kept_layout_costs_less_than_moved_layout(self) -> None:
        source = features(0, 16, 32)[None]
        assert losses.spatial_structure(source, source) < losses.spatial_structure(source, source.roll(1, 1)) - 1


class TestGridPattern:
    @pytest.mark.parametrize("size", [(32, 32), (24, 40), (9, 13), (1, 7)])
    def test_equals_the_explicit_sum(self, size: tuple[int, int]) -> None:
        random = torch.Generator().manual_seed(0)
        source, adapted = (torch.randn(2, 3, *size, generator=random) for _ in range(2))
        averages, expected = (adapted - source).double(), 0.0
        for level in (1, 2, 3):
            height, width = averages.shape[-2] // 2, averages.shape[-1] // 2
            if not height or not width:
                break
            a, b, c, d = (
                averages[..., y : 2 * height : 2, x : 2 * width : 2] for y, x in ((0, 0), (0, 1), (1, 0), (1, 1))
            )
            side = min(16 >> level, height, width)
            means = [
                details[..., y : y + side, x : x + side].mean((2, 3))
                for details in ((a + b - c - d) / 4, (a - b + c - d) / 4, (a - b - c + d) / 4)
                for y in range(0, height - side + 1, side)
                for x in range(0, width - side + 1, side)
            ]
            expected += float(torch.stack(means).square().mean())
            averages = (a + b + c + d) / 4
        assert float(losses.grid_pattern(source, adapted)) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("period", [2, 4, 8])
    def test_a_grid_costs_a_third_of_its_amplitude_squared(self, period: int) -> None:
        source = torch.rand(1, 3, 64, 64)
        stripes = 1 - 2 * (torch.arange(64) % period >= period // 2).float()
        for grid in (stripes.expand(64, 64), stripes[:, None].expand(64, 64), stripes * stripes[:, None]):
            assert float(losses.grid_pattern(source, source + 0.1 * grid)) == pytest.approx(0.01 / 3, rel=1e-4)

    def test_light_edges_and_noise_cost_nearly_nothing(self) -> None:
        source, random = torch.zeros(1, 3, 64, 64), torch.Generator().manual_seed(0)
        edge = (torch.arange(64) > 20).float().expand(1, 3, 64, 64)
        noise = torch.randn(1, 3, 64, 64, generator=random)
        assert float(losses.grid_pattern(source, source + 1)) == pytest.approx(0, abs=1e-12)
        assert float(losses.grid_pattern(source, edge)) < 0.02
        assert float(losses.grid_pattern(source, noise)) < 0.02
