"""Fake quantisers with a learned scale, and a network whose layers have them.

LSQ (Esser et al. 2020, arXiv 1902.08153): v̂ = s · round(clip(v / s, low, high)), with
∂v̂/∂v = 1 inside the range, 0 outside;  ∂v̂/∂s = round(v / s) - v / s inside, low or high outside, times 1 / √(N · high),
where N is the number of values: of a weight, or of the activations of one image. The scale starts at 2 mean|v| / √high.
Of b bits, low is -2^(b-1) and high 2^(b-1) - 1; of activations that are never negative 0 and 2^b - 1.

The network computes in floating point with quantised values: its files are not smaller, nor is it faster.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gen.tensors import in_float32

EDGE_BITS = 8
"""Of the first and the last layer, as in LSQ's experiments."""

FLOOR = 1e-8
"""Smallest scale that is computed with."""


class LSQ(torch.autograd.Function):
    """The equation. Values (...), scale, low and high (), the number N of values -> (...)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, scale: Tensor, low: Tensor, high: Tensor, count: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """v̂."""
        scale = scale.clamp(min=FLOOR)
        ctx.save_for_backward(values, scale, low, high)
        ctx.count = count
        return torch.clamp(values / scale, low, high).round() * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """By the values and by the scale."""
        values, scale, low, high = ctx.saved_tensors
        ratio = values / scale
        inside = (ratio >= low) & (ratio <= high)
        by_scale = torch.where(inside, ratio.round() - ratio, torch.clamp(ratio, low, high))
        return gradient * inside, (gradient * by_scale).sum() / (ctx.count * high).sqrt(), None, None, None


def first_scale(mean: Tensor, high: Tensor) -> Tensor:
    """What a scale starts at; `mean`: of |v|."""
    return 2 * mean / high.sqrt()


class Quantiser(nn.Module):
    """Quantises what passes through it. `scale` is learned; the range `low` to `high` is saved with it."""

    low: Tensor
    high: Tensor

    def __init__(self, bits: int, signed: bool) -> None:
        super().__init__()
        self.bits = bits
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.set_range(signed)

    def set_range(self, signed: bool) -> None:
        """From 0 on, or with half the levels below 0."""
        low, high = (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if signed else (0, 2**self.bits - 1)
        self.low.fill_(low)
        self.high.fill_(high)

    def quantise(self, values: Tensor, count: int) -> Tensor:
        """v̂ of values, with N = `count`. Half precision has too few digits for v / s."""
        return cast(Any, LSQ).apply(in_float32(values), self.scale, self.low, self.high, count)


class WeightQuantiser(Quantiser):
    """Of a layer's weight."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__(bits, signed=True)
        self.scale = nn.Parameter(first_scale(weight.detach().abs().mean(), self.high.to(weight)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer computes with."""
        return self.quantise(weight, weight.numel())


class InputQuantiser(Quantiser):
    """Of the activations that enter a layer."""

    seen: Tensor | None = None
    """Mean |v| of the last batch, while `observing`."""
    observing = False
    """Look at the values and let them pass, to find the first scale."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits, signed=False)

    def forward(self, values: Tensor) -> Tensor:
        """The activations that the layer computes with."""
        if self.observing:
            self.seen = in_float32(values.detach()).abs().mean()
            return values
        return self.quantise(values, values[0].numel())


def quantisable(network: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    """Convolutions and linear layers by name, in the order of the network."""
    return {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


def quantise(network: nn.Module, bits: int) -> None:
    """Let all convolutions and linear layers of the network compute with quantised weights and inputs."""
    layers = list(quantisable(network).values())
    for number, layer in enumerate(layers):
        own = EDGE_BITS if number in (0, len(layers) - 1) else bits
        parametrize.register_parametrization(layer, "weight", WeightQuantiser(layer.weight, own))
        layer.quantiser = InputQuantiser(own)
        layer.register_forward_pre_hook(_quantise_input)


def _quantise_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    quantiser: Any = layer.quantiser
    return (quantiser(inputs[0]), *inputs[1:])


def input_quantisers(network: nn.Module) -> list[InputQuantiser]:
    """Those of all layers."""
    return [module for module in network.modules() if isinstance(module, InputQuantiser)]


@contextmanager
def observing(network: nn.Module) -> Generator[list[InputQuantiser]]:
    """Within the block, inputs are not quantised but looked at."""
    quantisers = input_quantisers(network)
    for quantiser in quantisers:
        quantiser.observing = True
    try:
        yield quantisers
    finally:
        for quantiser in quantisers:
            quantiser.observing, quantiser.seen = False, None
