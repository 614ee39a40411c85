"""Each term against its equation, written out slowly in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gen.smos.losses import (
    LN2,
    MutualInformationBound,
    grounding_js,
    released_js,
    released_kl,
)


def features(seed: int, rows: int = 4, width: int = 7, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    u, z = (torch.rand(rows, width, generator=g, dtype=torch.float64) * scale for _ in range(2))
    return u, z


def softmax(v: np.ndarray) -> np.ndarray:
    e = np.exp(v - v.max())
    return e / e.sum()


def slow_js(p: np.ndarray, q: np.ndarray) -> float:
    m = (p + q) / 2
    kl = lambda a, b: sum(x * math.log(x / y) for x, y in zip(a, b, strict=True) if x > 0)  # noqa: E731
    return (kl(p, m) + kl(q, m)) / 2


class TestGrounding:
    @pytest.mark.parametrize("temperature", [1.0, 0.3])
    def test_is_the_mean_divergence_of_the_softmaxes(self, temperature: float) -> None:
        u, z = features(0, scale=4)
        wanted = [slow_js(softmax(a.numpy() / temperature), softmax(b.numpy() / temperature))
                  for a, b in zip(u, z, strict=True)]  # fmt: skip
        assert grounding_js(u, z, temperature).item() == pytest.approx(np.mean(wanted), rel=1e-5)

    @given(st.integers(0, 10_000), st.floats(1e-3, 300))
    def test_lies_between_zero_and_ln_2_and_is_symmetric(self, seed: int, scale: float) -> None:
        u, z = features(seed, scale=scale)
        value = grounding_js(u, z).item()
        assert -1e-6 <= value <= LN2 + 1e-6
        assert value == pytest.approx(grounding_js(z, u).item(), abs=1e-6)
        assert grounding_js(u, u).item() == pytest.approx(0, abs=1e-6)

    def test_far_apart_distributions_have_a_finite_gradient(self) -> None:
        u = torch.tensor([[500.0, 0, 0]])
        z = torch.tensor([[0.0, 500, 0]], requires_grad=True)
        value = grounding_js(u, z)
        value.backward()
        assert value.item() == pytest.approx(LN2, rel=1e-5)
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()

    def test_descending_it_brings_the_student_to_the_precursor(self) -> None:
        u, z = features(1, scale=4)
        z.requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.1)
        for _ in range(300):
            optimizer.zero_grad()
            grounding_js(u, z).backward()
            optimizer.step()
        torch.testing.assert_close(F.softmax(z, 1), F.softmax(u, 1), atol=2e-3, rtol=0)


class TestReleasedTerms:
    @pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")
    def test_js_is_what_kl_div_makes_of_raw_features(self) -> None:
        """F.kl_div(p, m) + F.kl_div(q, m), halved, as the published code calls it, is mean[m log m - m²]."""
        u, z = features(2)
        m = (u + z) / 2
        as_called = (F.kl_div(u, m, reduction="mean") + F.kl_div(z, m, reduction="mean")) / 2
        assert released_js(u, z).item() == pytest.approx(as_called.item(), rel=1e-6)
        assert as_called.item() == pytest.approx((m * m.log() - m * m).mean().item(), rel=1e-12)

    def test_js_is_no_divergence(self) -> None:
        u, z = features(3)
        shift = torch.rand_like(u) * 0.1
        assert released_js(u - shift, z + shift).item() == pytest.approx(released_js(u, z).item(), rel=1e-5)
        assert released_js(u, u).item() < 0  # a divergence of a thing from itself is zero
        values = [released_js(scale * u, scale * z).item() for scale in (1, 10, 100, 1000)]
        assert values == sorted(values, reverse=True)
        assert values[-1] < -1e5  # not bounded below

    def test_js_only_ever_inflates_the_student(self) -> None:
        u, z = features(4, scale=3)
        z.requires_grad_()
        released_js(u, z).backward()
        assert z.grad is not None
        assert (z.grad < 0).all()
        m, n = ((u + z) / 2).detach(), z.numel()
        torch.testing.assert_close(z.grad, 0.5 * (m.log() + 1 - 2 * m) / n, atol=1e-7, rtol=1e-4)

    def test_a_zero_feature_is_survived(self) -> None:
        zero = torch.zeros(1, 3, requires_grad=True)
        for term in (released_js, released_kl):
            value = term(torch.zeros(1, 3), zero)
            value.backward()
            assert torch.isfinite(value)
            assert zero.grad is not None
            assert torch.isfinite(zero.grad).all()

    def test_kl_is_least_at_the_exponential(self) -> None:
        u, _ = features(5)
        best = (u - 1).exp()
        assert released_kl(u, best).item() == pytest.approx((best * best.log() - best * u).mean().item(), rel=1e-6)
        for factor in (0.9, 1.1):
            assert released_kl(u, best * factor).item() > released_kl(u, best).item()
        assert released_kl(u, u).item() > released_kl(u, best).item()  # not least where both agree


class TestMutualInformationBound:
    def test_against_loops_in_float64(self) -> None:
        bound = MutualInformationBound([2, 3]).double()
        g = torch.Generator().manual_seed(0)
        shapes = [(2, 2, 3, 3), (2, 3, 2, 2)]
        f, o = ([torch.randn(s, generator=g, dtype=torch.float64) for s in shapes] for _ in range(2))
        with torch.no_grad():
            for bias in bound.biases:
                bias.copy_(torch.randn(bias.shape, generator=g, dtype=torch.float64))
        total = 0.0
        for a, b, bias in zip(f, o, bound.biases, strict=True):
            terms = []
            for n, c, y, x in np.ndindex(*a.shape):
                variance = math.log1p(math.exp(bias[c].item())) + 1e-5
                terms.append((a[n, c, y, x].item() - b[n, c, y, x].item()) ** 2 / variance + math.log(variance))
            total += 0.5 * sum(terms) / len(terms)
        assert bound(f, o).item() == pytest.approx(total, rel=1e-5)

    def test_begins_with_a_variance_of_a_tenth(self) -> None:
        for variance in MutualInformationBound([5, 6]).variances():
            torch.testing.assert_close(variance, torch.full_like(variance, 0.1), rtol=1e-5, atol=0)

    def test_the_best_variance_is_the_mean_square_error(self) -> None:
        bound = MutualInformationBound([2])
        f, o = [torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)], [torch.zeros(1, 2, 1, 1)]
        optimizer = torch.optim.Adam(bound.parameters(), lr=0.1)
        for _ in range(2000):
            optimizer.zero_grad()
            bound(f, o).backward()
            optimizer.step()
        torch.testing.assert_close(bound.variances()[0], torch.tensor([1.0, 4.0]), rtol=0.01, atol=0)
