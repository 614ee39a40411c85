"""PSNR, SSIM and a perceptual distance between an image and the true one, which only rendered scenes have.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. Their LPIPS weights
the channels of a network by heads fitted to one set of its weights, here torchvision's SqueezeNet 1.1. For other
weights of the same network the heads are meaningless, so all channels count the same.
"""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen.errors import BadInput
from gen.loading import loading
from gen.metrics import features
from gen.metrics.features import read_squeezenet

log = logging.getLogger(__name__)


class Perceptual(nn.Module):
    """Two batches of images (B, 3, H, W) in [-1, 1] -> distances (B,). Frozen; gradients flow to the images.

    With `fitted` weights it is LPIPS. Without, it is the mean over the network's seven layers and all positions of
    1 - cos between the two images' feature vectors: LPIPS with the same weight, 1/14, for every channel of every layer.
    """

    @loading
    def __init__(self, fitted: bool) -> None:
        """Random weights; `load_perceptual` fills them."""
        super().__init__()
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it uses a deprecated torchvision argument
            self.network: Any = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
        self.fitted = fitted
        self.title = "LPIPS (SqueezeNet)" if fitted else "perceptual distance (SqueezeNet, unweighted)"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) -> (B,)."""
        return (self.vectors(images) - self.vectors(others)).square().sum(1)

    def vectors(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> vectors (B, d) whose squared distances are the distance.

        This works because LPIPS is a sum of squared feature differences with weights >= 0. Each image then passes
        through the network once, however many others it is compared with.
        """
        import lpips

        maps: list[Tensor] = self.network.net(self.network.scaling_layer(images))
        parts: list[Tensor] = []
        for layer, x in zip(self.network.lins, maps, strict=True):
            # |a - b|^2 / 2 = 1 - cos for unit vectors a and b, hence 0.5.
            weight = layer.model[-1].weight if self.fitted else 0.5 / len(maps)
            parts.append((lpips.normalize_tensor(x) * (weight / (x.shape[2] * x.shape[3])) ** 0.5).flatten(1))
        return torch.cat(parts, 1)

    def train(self, mode: bool = True) -> "Perceptual":
        """Stay in evaluation mode: LPIPS has dropout."""
        return super().train(False)


class PairedScores:
    """Scores of translations against the true images.

    Higher is better for PSNR (dB) and SSIM, lower for the perceptual distance.
    """

    def __init__(self, perceptual: Perceptual | None) -> None:
        """`perceptual`: from `load_perceptual`; None leaves that distance out."""
        self.perceptual = perceptual
        self._scores: list[dict[str, float]] = []

    @torch.no_grad()
    def add(self, images: Tensor, truth: Tensor) -> None:
        """Add frames and the true ones, both (B, H, W, 3) uint8."""
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        a, b = (frames.permute(0, 3, 1, 2).float() for frames in (images, truth))
        psnr = peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3))
        ssim = structural_similarity_index_measure(a, b, data_range=255.0, reduction="none")
        columns: dict[str, Any] = {"psnr": psnr, "ssim": ssim}
        if self.perceptual is not None:
            columns["perceptual"] = self.perceptual(a / 127.5 - 1, b / 127.5 - 1)
        self._scores += [{k: float(v[i]) for k, v in columns.items()} for i in range(len(a))]

    def numbers(self) -> dict[str, float]:
        """Means over the images, and the number of images."""
        means = {k: sum(s[k] for s in self._scores) / len(self._scores) for k in self._scores[0]}
        return {"images": len(self._scores)} | means


def load_perceptual(weights: Path | None = None) -> Perceptual:
    """LPIPS if torchvision's own SqueezeNet weights are available, else the unweighted distance on other weights.

    `weights`: squeezenet1_1 with torchvision's names (safetensors, or a .pth with tensors only); None: torchvision's
    file in torch's hub cache, else the shipped ones. Nothing is downloaded if either is present, so that a result does
    not depend on the network connection. Raises `BadSetting` if no weights are available, `BadInput` if they do not
    fit.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / features.SQUEEZENET_URL.rsplit("/", 1)[1]
    weights = weights or (cached if cached.is_file() else features.squeezenet_weights())
    state = read_squeezenet(weights)
    perceptual = Perceptual(fitted=_is_torchvisions(weights))
    own = perceptual.network.net.state_dict()  # slice2.3.squeeze.weight is torchvision's features.3.squeeze.weight
    try:
        perceptual.network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    except (KeyError, RuntimeError) as error:
        raise BadInput(f"{weights}: not weights of torchvision's squeezenet1_1.") from error
    if not perceptual.fitted:
        log.info("using %s instead of LPIPS, which needs %s", perceptual.title, features.SQUEEZENET_URL)
    return perceptual


def _is_torchvisions(weights: Path) -> bool:
    """Whether the file is the one that LPIPS' heads were fitted to; its URL ends in its SHA-256 prefix."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(Path(features.SQUEEZENET_URL).stem.rsplit("-", 1)[1])
