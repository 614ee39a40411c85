"""The image pool of unpaired training."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class ImagePool:
    """Buffer of translated images, so that discriminators do not forget (Shrivastava et al. 2017).

    A full pool answers half of the time with an old image, which the new one replaces.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def exchange(self, images: Tensor, seeds: Sequence[int]) -> Tensor:
        """(B, 3, H, W) -> as many images, new or old; `seeds`, one for each image, decide."""
        return torch.stack([self._exchange_one(i, s) for i, s in zip(images, seeds, strict=True)])

    def _exchange_one(self, image: Tensor, seed: int) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        rng = np.random.default_rng(seed)
        if self.size == 0 or rng.random() < 0.5:
            return image
        index = int(rng.integers(self.size))
        old, self.images[index] = self.images[index], image.clone()
        return old
