"""Distances between sets of images, against slow references in float64."""

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from gen.errors import BadInput
from gen.metrics.distances import Population, frechet_distance, kernel_distance, list_images, read_batches
from gen.metrics.features import EfficientNetLite0Features


def normals(count: int, size: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(99))
    return (torch.randn(count, size, generator=draw) * scale) @ mixing + shift


def reference_frechet(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.real(np.asarray(scipy.linalg.sqrtm(cov_x @ cov_y)))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root))


class Given(torch.nn.Identity):
    """Features instead of images, for torchmetrics."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float((np.dot(x, y) / len(x) + 1) ** 3)


def reference_mmd2(a: Tensor, b: Tensor) -> float:
    x, y = a.double().numpy(), b.double().numpy()
    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(kernel(p, q) for p in x for q in y) / (n * m)
    return within_x + within_y - 2 * between


class TestFrechetDistance:
    def test_matches_the_matrix_square_root(self) -> None:
        a, b = normals(200, 12, seed=1), normals(150, 12, seed=2, shift=0.5, scale=1.3)
        assert frechet_distance(a, b) == pytest.approx(reference_frechet(a, b), rel=1e-6)

    def test_matches_torchmetrics(self) -> None:
        a, b = normals(90, 12, seed=4), normals(30, 12, seed=5, shift=0.2)
        metric = FrechetInceptionDistance(Given(12))
        metric.update(a.double(), real=False)
        metric.update(b.double(), real=True)
        assert frechet_distance(a, b) == pytest.approx(metric.compute().item(), rel=1e-9)

    def test_fewer_images_than_dimensions(self) -> None:
        """Rank-deficient covariances, the usual case: tr (AB)^½ is the nuclear norm of the cross product."""
        a, b = normals(20, 64, seed=1), normals(24, 64, seed=2, shift=0.5)
        x, y = ((f - f.mean(0)).double() / (len(f) - 1) ** 0.5 for f in (a, b))
        means = (a.mean(0) - b.mean(0)).double().square().sum()
        expected = means + x.square().sum() + y.square().sum() - 2 * torch.linalg.matrix_norm(x @ y.T, "nuc")
        assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-5)

    def test_identical_sets_are_at_zero(self) -> None:
        a = normals(100, 16, seed=3)
        assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * a.var(0).sum().item())

    def test_is_symmetric(self) -> None:
        a, b = normals(60, 8, seed=1), normals(80, 8, seed=2, shift=1.0)
        assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)

    def test_one_image_is_not_a_set(self) -> None:
        with pytest.raises(BadInput, match="at least two"):
            frechet_distance(normals(1, 4, seed=0), normals(5, 4, seed=0))


class TestKernelDistance:
    def test_matches_the_sums_over_pairs(self) -> None:
        a, b = normals(15, 6, seed=1), normals(15, 6, seed=2, shift=0.5)
        mean, std = kernel_distance(a, b, subset_size=15, subsets=3)
        assert mean == pytest.approx(reference_mmd2(a, b), rel=1e-8)
        assert std is None  # all subsets are the whole sets

    def test_same_distribution_is_near_zero_and_a_shift_is_not(self) -> None:
        a, b = normals(200, 8, seed=1), normals(200, 8, seed=2)
        near, spread = kernel_distance(a, b, subset_size=50)
        far, _ = kernel_distance(a, b + 4, subset_size=50)
        assert abs(near) < 2 * spread
        assert far > 10 * abs(near)

    def test_is_symmetric_on_whole_sets(self) -> None:
        a, b = normals(30, 8, seed=1), normals(30, 8, seed=2, shift=1.0)
        there = kernel_distance(a, b, subset_size=30, subsets=1)[0]
        assert there == pytest.approx(kernel_distance(b, a, subset_size=30, subsets=1)[0], rel=1e-9)

    def test_the_seed_decides_and_torchs_generator_is_left_alone(self) -> None:
        a, b = normals(60, 8, seed=1), normals(60, 8, seed=2, shift=0.3)
        before = torch.random.get_rng_state()
        first = kernel_distance(a, b, subset_size=10, subsets=5, seed=7)
        assert torch.equal(before, torch.random.get_rng_state())
        torch.rand(3)
        assert kernel_distance(a, b, subset_size=10, subsets=5, seed=7) == first
        assert kernel_distance(a, b, subset_size=10, subsets=5, seed=8) != first

    def test_subsets_shrink_to_the_smaller_set(self) -> None:
        mean, std = kernel_distance(normals(5, 4, seed=1), normals(9, 4, seed=2), subset_size=1000)
        assert np.isfinite(mean)
        assert std > 0


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0Features:
    return EfficientNetLite0Features()


def textures(count: int, noise: float) -> Tensor:
    """(count, 48, 64, 3) uint8: smooth coloured ramps, plus `noise` grey levels of grain."""
    draw = np.random.default_rng(5)
    y, x = np.mgrid[0:48, 0:64] / 64
    waves = [np.sin(2 * np.pi * (x * fx + y * fy + p)) for fx, fy, p in draw.uniform(0, 3, (3 * count, 3))]
    images = 128 + 80 * np.stack(waves).reshape(count, 3, 48, 64).transpose(0, 2, 3, 1)
    grain = draw.normal(0, noise, images.shape) if noise else 0
    return torch.from_numpy((images + grain).clip(0, 255).astype(np.uint8))


class TestPopulation:
    def test_grows_with_noise_and_is_zero_without(self, network: EfficientNetLite0Features) -> None:
        """More noise, farther away, in both measures."""
        sets = [Population(network).add_all(textures(12, n).split(4)) for n in (0, 15, 90)]
        distances = [s.distance(sets[0], subset_size=12) for s in sets]
        frechet = [d.frechet for d in distances]
        kernels = [d.kernel for d in distances]
        assert frechet[0] == pytest.approx(0, abs=1e-3 * frechet[1])
        assert frechet == sorted(frechet)
        assert kernels == sorted(kernels)

    def test_batches_do_not_matter(self, network: EfficientNetLite0Features) -> None:
        whole, split = Population(network), Population(network)
        images = textures(5, 5)
        whole.add(images)
        split.add_all(images.split(2))
        assert len(split) == 5
        torch.testing.assert_close(split.features, whole.features, rtol=1e-4, atol=1e-5)

    def test_empty(self, network: EfficientNetLite0Features) -> None:
        assert Population(network).features.shape == (0, 1280)


class TestFolders:
    def test_limit_spreads_over_the_sorted_tree(self, tmp_path: Path) -> None:
        folder = tmp_path
        (folder / "sub").mkdir()
        for name in ("a.png", "b.PNG", "c.png", "sub/d.png", "notes.txt"):
            (folder / name).touch()
        assert [p.name for p in list_images(folder)] == ["a.png", "b.PNG", "c.png", "d.png"]
        assert [p.name for p in list_images(folder, limit=2)] == ["a.png", "c.png"]

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="no images"):
            list_images(tmp_path)
        with pytest.raises(BadInput, match="no such folder"):
            list_images(tmp_path / "nowhere")

    def test_a_batch_has_one_size(self, tmp_path: Path) -> None:
        for i, size in enumerate([(8, 6), (8, 6), (8, 6), (10, 6), (8, 6)]):
            Image.new("RGB", size, (i, 0, 0)).save(tmp_path / f"{i}.png")
        batches = list(read_batches(list_images(tmp_path), batch=2))
        assert [tuple(b.shape) for b in batches] == [(2, 6, 8, 3), (1, 6, 8, 3), (1, 6, 10, 3), (1, 6, 8, 3)]
        assert [int(image[0, 0, 0]) for b in batches for image in b] == [0, 1, 2, 3, 4]
