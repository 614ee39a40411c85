"""Whether a classifier that no loss uses recognises what pictures are to show: SqueezeNet and ImageNet's classes."""

import torch
from torch import Tensor

from gen.hda.encoders import SqueezeEncoder
from gen.hda.scoring import in_batches

SUNGLASSES = (836, 837)
"""ImageNet's classes sunglass and sunglasses."""

FIRST = 5
"""Classes that count, as in ImageNet's top-5 accuracy."""


class Recogniser:
    """SqueezeNet 1.1 with its ImageNet classifier."""

    def __init__(self, device: torch.device) -> None:
        self.encoder = SqueezeEncoder().to(device)

    def share(self, images: Tensor, classes: tuple[int, ...]) -> float:
        """Of images (B, 3, H, W) in [-1, 1], the share in which one of `classes` is among the first five."""
        first = in_batches(self._logits, images).topk(FIRST, dim=1).indices
        return float(torch.isin(first, torch.tensor(classes, device=first.device)).any(1).float().mean())

    def _logits(self, images: Tensor) -> Tensor:
        return self.encoder.network(self.encoder.prepared(images))
