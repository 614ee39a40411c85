"""Parts of a model as modules for other programs, which take images of any size."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from gen.translation.runtimes.graph import Network


class Part(NamedTuple):
    """A module for other programs. It takes and returns images (B, C, H, W) of any size."""

    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """Names, of which the module may return the first only."""


class Sized(nn.Module):
    """A direction's network for images of any size."""

    def __init__(self, generator: nn.Module, network: Network, padded: Callable[[Tensor], Tensor]) -> None:
        """`generator` has the weights of `network`; `padded` gives images the sides that it can take."""
        super().__init__()
        self.generator, self.network, self.padded = generator, network, padded

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Network`."""
        height, width = images.shape[-2:]
        return tuple(output[..., :height, :width] for output in self.network(self.padded(images)))
