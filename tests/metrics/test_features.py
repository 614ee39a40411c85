"""The feature networks: what goes in, what comes out, and what happens without a network."""

import hashlib
import http.server
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from gen.errors import BadSetting
from gen.metrics import features
from gen.metrics.features import (
    INCEPTION_URL,
    EfficientNetLite0Features,
    InceptionFeatures,
    download,
    load_features,
    read_squeezenet,
)

NOWHERE = "http://127.0.0.1:9/weights-6726825d.pth"
"""Port 9 of this machine: refused at once."""


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0Features:
    return EfficientNetLite0Features()


class TestEfficientNetLite0:
    def test_uint8_and_floats_are_the_same_picture(self, network: EfficientNetLite0Features) -> None:
        images = torch.randint(0, 256, (2, 3, 60, 90), generator=torch.Generator().manual_seed(0)).byte()
        pooled = network(images)
        assert pooled.shape == (2, network.num_features)
        assert pooled.dtype == torch.float32
        torch.testing.assert_close(network(images / 255), pooled, rtol=1e-3, atol=1e-4)

    def test_is_the_classifiers_input(self, network: EfficientNetLite0Features) -> None:
        """At 224x224 no resize acts: the library's own forward pass gives the same pooled features."""
        images = torch.randint(0, 256, (1, 3, 224, 224), generator=torch.Generator().manual_seed(1)).byte()
        with torch.no_grad():
            classify = network.network.get_submodule("_fc")
            logits = network.network((images.float() - 127) / 128)
            torch.testing.assert_close(classify(network(images)), logits, rtol=1e-4, atol=1e-4)

    def test_resize_is_antialiased(self, network: EfficientNetLite0Features) -> None:
        """A fine checkerboard, twice as fine as 224 pixels can show, is grey to the network."""
        board = torch.zeros(1, 3, 896, 896)
        board[..., ::2, ::2] = board[..., 1::2, 1::2] = 1
        grey = torch.full((1, 3, 896, 896), 0.5)
        assert F.cosine_similarity(network(board), network(grey)).item() > 0.99

    def test_stays_in_evaluation_mode(self, network: EfficientNetLite0Features) -> None:
        assert not any(m.training for m in network.train().modules())
        assert not any(p.requires_grad for p in network.parameters())

    def test_is_never_called_fid(self, network: EfficientNetLite0Features) -> None:
        assert network.frechet_name == "Fréchet distance (EfficientNet-Lite0)"
        assert "FID" not in network.kernel_name


class TestSqueezeNet:
    def test_shipped_weights_are_torchvisions_network_before_its_classifier(self) -> None:
        from torchvision.models import squeezenet1_1

        network = load_features("squeezenet")
        classifier = squeezenet1_1()
        classifier.load_state_dict(read_squeezenet())
        picture = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        normalised = (picture - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
            [0.229, 0.224, 0.225]
        ).view(3, 1, 1)
        with torch.no_grad():
            expected = classifier.features(normalised).mean((2, 3))
        torch.testing.assert_close(network(picture), expected, atol=1e-5, rtol=1e-5)
        assert network.frechet_name == "Fréchet distance (SqueezeNet 1.1)"


class Untrained(FeatureExtractorInceptionV3):
    """The published network as it starts, before any weights."""

    def load_state_dict(self, *_: object, **__: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hub")
    empty = root / "empty.pth"
    torch.save({}, empty)
    path = root / "hub" / "checkpoints" / INCEPTION_URL.rsplit("/", 1)[1]
    path.parent.mkdir(parents=True)
    torch.save(Untrained("random", ["2048"], str(empty)).state_dict(), path)
    return path


class TestInception:
    """What can be known without the published weights: the code around them, on random ones."""

    def test_is_taken_from_the_cache(self, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCH_HOME", str(weights.parents[2]))
        network = load_features("auto")
        assert isinstance(network, InceptionFeatures)
        assert network.frechet_name == "FID (Inception-V3)"

    def test_uint8_and_floats_are_the_same_picture(self, weights: Path) -> None:
        network = InceptionFeatures(weights)
        images = torch.randint(0, 256, (2, 3, 60, 90), generator=torch.Generator().manual_seed(0)).byte()
        pooled = network(images)
        assert pooled.shape == (2, network.num_features)
        torch.testing.assert_close(network(images / 255), pooled)
        assert not any(m.training for m in network.train().modules())

    def test_a_file_that_is_more_than_tensors_is_not_unpickled(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        path.write_bytes(pickle.dumps(Path.unlink, protocol=2))
        with pytest.raises(pickle.UnpicklingError):
            InceptionFeatures(path)


class TestLoadFeatures:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A hub cache with nothing in it, and a host that refuses."""
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr(features, "INCEPTION_URL", NOWHERE)

    def test_auto_falls_back_and_says_so(self, caplog: pytest.LogCaptureFixture) -> None:
        assert isinstance(load_features("auto"), EfficientNetLite0Features)
        assert "not FID" in caplog.text

    def test_inception_on_demand_fails_in_one_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(BadSetting, match="could not be downloaded") as caught:
            load_features("inception")
        message = str(caught.value)
        assert NOWHERE in message
        assert "set features to efficientnet-lite0" in message
        assert "\n" not in message
        assert not list(tmp_path.rglob("*.p*"))

    def test_unknown_name(self) -> None:
        with pytest.raises(BadSetting, match="unknown name 'vgg'; available: auto, inception"):
            load_features("vgg")  # pyright: ignore[reportArgumentType]


class TestDownload:
    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[tuple[str, Path]]:
        """A file server of this machine: its address and its folder."""
        root = tmp_path / "served"
        root.mkdir()
        handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
            threading.Thread(target=httpd.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{httpd.server_port}", root
            httpd.shutdown()

    def test_keeps_what_has_the_right_checksum(self, server: tuple[str, Path], tmp_path: Path) -> None:
        address, root = server
        name = f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
        (root / name).write_bytes(b"weights")
        download(f"{address}/{name}", tmp_path / "cache" / name, timeout=5)
        assert [p.name for p in (tmp_path / "cache").iterdir()] == [name]

    @pytest.mark.parametrize("name", ["net-00000000.pth", "missing-00000000.pth"])
    def test_leaves_nothing_else(self, server: tuple[str, Path], tmp_path: Path, name: str) -> None:
        address, root = server
        (root / "net-00000000.pth").write_bytes(b"something else")
        with pytest.raises(OSError, match=r"checksum|404"):
            download(f"{address}/{name}", tmp_path / "cache" / name, timeout=5)
        assert not list((tmp_path / "cache").iterdir())
