"""PSNR, SSIM and the perceptual distance against their definitions and against torchvision's and lpips' own."""

import hashlib
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gen.errors import BadInput
from gen.metrics import features
from gen.metrics.paired import PairedScores, load_perceptual
from tests.conftest import street


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.stack([torch.from_numpy(street(np.random.default_rng(i), 96, 128, night=False)) for i in range(3)])


def noisy(frames: torch.Tensor, sigma: float) -> torch.Tensor:
    noise = torch.randn(frames.shape, generator=torch.Generator().manual_seed(0)) * sigma
    return (frames + noise).clamp(0, 255).round().to(torch.uint8)


def scores(images, truth, perceptual=None) -> dict[str, float]:
    table = PairedScores(perceptual)
    table.add(images, truth)
    return table.numbers()


def test_psnr_is_its_definition(frames):
    other = noisy(frames, 12)
    errors = (frames.double() - other.double()).square().mean(dim=(1, 2, 3))
    expected = [10 * math.log10(255**2 / float(e)) for e in errors]
    assert scores(other, frames)["psnr"] == pytest.approx(sum(expected) / 3, abs=1e-3)


def test_the_same_picture_has_ssim_one_and_noise_less(frames):
    assert scores(frames, frames)["ssim"] == pytest.approx(1.0)
    some, more = (scores(noisy(frames, s), frames)["ssim"] for s in (10, 40))
    assert 1 > some > more > 0


def test_batches_give_the_mean_over_images(frames):
    other, table = noisy(frames, 20), PairedScores(None)
    for i in range(3):
        table.add(other[i : i + 1], frames[i : i + 1])
    assert table.numbers() == pytest.approx(scores(other, frames), rel=1e-5)
    assert table.numbers()["images"] == 3


class TestPerceptual:
    @pytest.fixture
    def weights(self, tmp_path):
        """Random weights in torchvision's layout: the real ones are a download."""
        from torchvision.models import squeezenet1_1

        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = squeezenet1_1(weights=None).eval()
        save_file(network.state_dict(), tmp_path / "squeeze.safetensors")
        return tmp_path / "squeeze.safetensors", network

    def test_the_weights_reach_their_places(self, weights):
        path, torchvision = weights
        network = load_perceptual(path).network
        x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        ours = network.net(x)
        with torch.no_grad():
            reference = torchvision.features[:2](x)
            assert torch.allclose(ours.relu1, reference, atol=1e-6)
            assert torch.allclose(ours[-1], torchvision.features(x), atol=1e-5)

    def test_real_weights_order_distortions(self, shared_data, frames):
        network = load_perceptual(shared_data / "models" / "squeezenet1_1_imagenet.safetensors")
        same, some, more = (scores(noisy(frames, s), frames, network)["perceptual"] for s in (0, 10, 40))
        assert same == pytest.approx(0, abs=1e-6)
        assert 0.005 < some < more < 2

    def test_other_weights_are_told(self, tmp_path):
        save_file({"features.0.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
        with pytest.raises(BadInput, match="not weights of torchvision's squeezenet1_1"):
            load_perceptual(tmp_path / "other.safetensors")
        (tmp_path / "broken.safetensors").write_bytes(b"no")
        with pytest.raises(BadInput, match=r"broken.safetensors: this is neither"):
            load_perceptual(tmp_path / "broken.safetensors")


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.rand(5, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2))
    return first, second


class TestUnweighted:
    """On weights that lpips' heads were not fitted to, as the shipped ones are."""

    @pytest.fixture(autouse=True)
    def no_torchvision(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def test_is_not_called_lpips(self):
        assert load_perceptual().title == "perceptual distance (SqueezeNet, unweighted)"

    def test_is_one_less_cosine_over_seven_layers_and_their_places(self):
        a, b = pictures()
        perceptual = load_perceptual()
        layers = []
        for x, y in zip(*(perceptual.network.net(perceptual.network.scaling_layer(p)) for p in (a, b)), strict=True):
            layers.append((1 - torch.nn.functional.cosine_similarity(x, y, dim=1)).mean((1, 2)))
        assert len(layers) == 7
        torch.testing.assert_close(perceptual(a, b), torch.stack(layers).mean(0), rtol=1e-4, atol=1e-6)

    def test_has_a_gradient_to_the_pictures_alone(self):
        a, b = pictures()
        perceptual = load_perceptual()
        perceptual(a.requires_grad_(), b).sum().backward()
        assert a.grad is not None
        assert a.grad.abs().sum() > 0
        assert not any(p.requires_grad for p in perceptual.parameters())


class TestLPIPS:
    """On torchvision's own file, known by its checksum; here a file of random weights stands in by its own checksum."""

    @pytest.fixture
    def fitted(self, tmp_path, monkeypatch):
        from torchvision.models import squeezenet1_1

        cache = tmp_path / "hub" / "checkpoints"
        cache.mkdir(parents=True)
        torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "random.pth")
        digest = hashlib.sha256((tmp_path / "random.pth").read_bytes()).hexdigest()[:8]
        (tmp_path / "random.pth").rename(cache / f"squeezenet1_1-{digest}.pth")
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(features, "SQUEEZENET_URL", f"http://127.0.0.1:9/squeezenet1_1-{digest}.pth")
        return load_perceptual()

    def test_is_the_package_s_own(self, fitted):
        a, b = pictures()
        assert fitted.title == "LPIPS (SqueezeNet)"
        torch.testing.assert_close(fitted(a, b), fitted.network(a, b).flatten(), rtol=1e-4, atol=1e-6)

    def test_another_file_under_that_name_is_not_taken_for_it(self, fitted, tmp_path):
        (file,) = (tmp_path / "hub" / "checkpoints").iterdir()
        other = torch.load(file, weights_only=True)
        other["features.0.bias"] += 1
        torch.save(other, file)
        assert load_perceptual().title == "perceptual distance (SqueezeNet, unweighted)"
