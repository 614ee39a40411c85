"""How far a picture is from the true one: PSNR, SSIM and LPIPS, for pairs that only rendered scenes can give.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018 (LPIPS, here with
SqueezeNet 1.1, the smallest of its backbones).
"""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gen.errors import BadInput
from gen.metrics.features import read_squeezenet


class PairedScores:
    """Scores of translations against the truth, image by image. PSNR in dB and SSIM: higher is better; LPIPS: lower."""

    def __init__(self, perceptual: nn.Module | None) -> None:
        """`perceptual` from `load_perceptual`; without it LPIPS is left out."""
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
            columns["lpips"] = self.perceptual(a / 127.5 - 1, b / 127.5 - 1).flatten()
        self._scores += [{k: float(v[i]) for k, v in columns.items()} for i in range(len(a))]

    def numbers(self) -> dict[str, float]:
        """Means over the images, and how many there were."""
        means = {k: sum(s[k] for s in self._scores) / len(self._scores) for k in self._scores[0]}
        return {"images": len(self._scores)} | means


def perceptual_vectors(network: Any, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] -> vectors (B, d) whose squared distances are LPIPS.

    LPIPS is a weighted sum of squared differences of features; its weights are not negative. With vectors every image
    passes the network once, however many it is compared with.
    """
    import lpips

    features = network.net(network.scaling_layer(images))
    parts: list[Tensor] = []
    for layer, x in zip(network.lins, features, strict=True):
        scale = (layer.model[-1].weight / (x.shape[2] * x.shape[3])).sqrt()
        parts.append((lpips.normalize_tensor(x) * scale).flatten(1))
    return torch.cat(parts, 1)


def load_perceptual(weights: Path | None = None) -> nn.Module:
    """LPIPS with SqueezeNet: images (B, 3, H, W) in [-1, 1], twice -> distances (B, 1, 1, 1).

    `weights` are for torchvision's squeezenet1_1 (safetensors, or a .pth of tensors alone); none: the shipped ones.
    Raises `BadSetting` where they cannot be had, `BadInput` if they do not fit.
    """
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision in the old way
        network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval().requires_grad_(False)
    state = read_squeezenet(weights)
    own = network.net.state_dict()  # slice2.3.squeeze.weight is torchvision's features.3.squeeze.weight
    try:
        network.net.load_state_dict({key: state["features." + key.split(".", 1)[1]] for key in own})
    except (KeyError, RuntimeError) as error:
        raise BadInput(f"{weights}: these are not torchvision's squeezenet1_1 weights.") from error
    return network
