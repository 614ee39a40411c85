"""How far a picture is from the true one: PSNR, SSIM and a perceptual distance; only rendered scenes give such pairs.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018. Their LPIPS weighs
the channels of a network by heads that were fitted to one training of it; here that is torchvision's SqueezeNet 1.1.
On another training the heads mean nothing, and all channels count the same.
"""

import hashlib
import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen.errors import BadInput
from gen.metrics import features
from gen.metrics.features import read_squeezenet

log = logging.getLogger(__name__)


class Perceptual(nn.Module):
    """Images (B, 3, H, W) in [-1, 1], twice -> distances (B,); frozen, gradients flow to the images.

    With `fitted` weights it is LPIPS. Without, it is the mean over the network's seven layers and all places of
    1 - cos of the two pictures' channels, which is what LPIPS becomes with the same weight, 1/14, for every channel
    of every layer.
    """

    def __init__(self, fitted: bool) -> None:
        """Random weights; `load_perceptual` fills them."""
        super().__init__()
        import lpips

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # it calls torchvision in the old way
            self.network: Any = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
        self.fitted = fitted
        self.title = "LPIPS (SqueezeNet)" if fitted else "perceptual distance (SqueezeNet, unweighted)"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """Two batches (B, 3, H, W) -> (B,)."""
        return (self.vectors(images) - self.vectors(others)).square().sum(1)

    def vectors(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> vectors (B, d) whose squared distances are the distance.

        It is a weighted sum of squared differences of features, and no weight is negative. With vectors every image
        passes the network once, however many it is compared with.
        """
        import lpips

        maps: list[Tensor] = self.network.net(self.network.scaling_layer(images))
        parts: list[Tensor] = []
        for layer, x in zip(self.network.lins, maps, strict=True):
            weight = layer.model[-1].weight if self.fitted else 0.5 / len(maps)
            parts.append((lpips.normalize_tensor(x) * (weight / (x.shape[2] * x.shape[3])) ** 0.5).flatten(1))
        return torch.cat(parts, 1)

    def train(self, mode: bool = True) -> "Perceptual":
        """Stays in evaluation mode: LPIPS has dropout."""
        return super().train(False)


class PairedScores:
    """Scores of translations against the truth, image by image.

    PSNR in dB and SSIM: higher is better; the perceptual distance: lower.
    """

    def __init__(self, perceptual: Perceptual | None) -> None:
        """`perceptual` from `load_perceptual`; without it that distance is left out."""
        self.perceptual = perceptual
        self._scores: list[dict[str, float]] = []

    @torch.no_grad()
    def add(self, images: Tensor, truth: Tensor) -> None:
        """Frames (B, H, W, 3) uint8 and what they should be."""
        from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

        a, b = (frames.permute(0, 3, 1, 2).float() for frames in (images, truth))
        psnr = peak_signal_noise_ratio(a, b, data_range=255.0, reduction="none", dim=(1, 2, 3))
        ssim = structural_similarity_index_measure(a, b, data_range=255.0, reduction="none")
        columns: dict[str, Any] = {"psnr": psnr, "ssim": ssim}
        if self.perceptual is not None:
            columns["perceptual"] = self.perceptual(a / 127.5 - 1, b / 127.5 - 1)
        self._scores += [{k: float(v[i]) for k, v in columns.items()} for i in range(len(a))]

    def numbers(self) -> dict[str, float]:
        """Means over the images, and how many there were."""
        means = {k: sum(s[k] for s in self._scores) / len(self._scores) for k in self._scores[0]}
        return {"images": len(self._scores)} | means


def load_perceptual(weights: Path | None = None) -> Perceptual:
    """LPIPS where torchvision's own SqueezeNet is at hand, else the unweighted distance on another training of it.

    `weights` are squeezenet1_1 by torchvision's names (safetensors, or a .pth of tensors alone); none: torchvision's
    file in torch's hub cache, or the shipped ones. Nothing is downloaded while others are at hand: a measure must not
    depend on the network being up. Raises `BadSetting` where none can be had, `BadInput` if they do not fit.
    """
    cached = Path(torch.hub.get_dir()) / "checkpoints" / features.SQUEEZENET_URL.rsplit("/", 1)[1]
    weights = weights or (cached if cached.is_file() else features.squeezenet_weights())
    state = read_squeezenet(weights)
    perceptual = Perceptual(fitted=_is_torchvisions(weights))
    own = perceptual.network.net.state_dict()  # slice2.3.squeeze.weight is torchvision's features.3.squeeze.weight
    try:
        perceptual.network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    except (KeyError, RuntimeError) as error:
        raise BadInput(f"{weights}: these are not weights of torchvision's squeezenet1_1.") from error
    if not perceptual.fitted:
        log.info("%s instead of LPIPS, which needs %s", perceptual.title, features.SQUEEZENET_URL)
    return perceptual


def _is_torchvisions(weights: Path) -> bool:
    """Whether the file is the one that LPIPS' heads were fitted to; the address ends in its SHA-256 prefix."""
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return digest.startswith(Path(features.SQUEEZENET_URL).stem.rsplit("-", 1)[1])
