"""A translator's network as an ONNX file, for other runtimes.

The instance norms average their statistics over the frames of a clip (`gen.translation.norm.StatisticsSmoother`). A
graph keeps nothing from frame to frame, so the averages go in and come out. With a decay of 0 they have no effect: one
graph serves pictures and clips.
"""

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.media.files import write_atomically
from gen.translation.norm import InstanceNorm

Network = Callable[[Tensor], tuple[Tensor, ...]]
"""Images (B, 3, H, W) in [-1, 1] -> the translation, and the map that comes with it, if any."""

IMAGES, PAST, DECAY, STATISTICS = "images", "past", "decay", "statistics"
OUTPUTS = ("translation", "uncertainty")
"""Names of what a `Network` returns."""
EXAMPLE = (1, 3, 64, 96)
"""Shape of the images that a network is traced with. Its graph takes any that the network takes."""
MOST = 2**20
"""More channels than the norms of a network have together."""


class _Flow:
    """What smooths the norms of a graph: it takes the averages from one tensor, and collects the new ones."""

    def __init__(self, past: Tensor, decay: Tensor) -> None:
        self.past, self.decay, self.position = past, decay, 0
        self.now: list[Tensor] = []

    def smooth(self, norm: InstanceNorm, var: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
        """As `StatisticsSmoother.smooth`."""
        end = self.position + norm.channels
        past = self.past[:, :, self.position : end, None, None]
        self.position = end
        var, mean = var + self.decay * (past[:, 0] - var), mean + self.decay * (past[:, 1] - mean)
        self.now.append(torch.stack([var[..., 0, 0], mean[..., 0, 0]], dim=1))
        return var, mean


class Graph(nn.Module):
    """A network with the averages of its norms as an input and an output."""

    def __init__(self, network: Network, modules: nn.Module) -> None:
        """`modules` has all norms of `network`, which runs through each of them at most once."""
        super().__init__()
        self.network, self.its_modules = network, modules
        self.norms = [module for module in modules.modules() if isinstance(module, InstanceNorm)]

    def forward(self, images: Tensor, past: Tensor, decay: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W), averages (1, 2, C) and their weight, 0 to 1 -> outputs, then (B, 2, C) averages."""
        flow = _Flow(past, decay)
        for norm in self.norms:
            norm.smoother = cast(Any, flow)
        try:
            outputs = self.network(images)
        finally:
            for norm in self.norms:
                norm.smoother = None
        return *outputs, torch.cat(flow.now, dim=2) if flow.now else past[:, :, :0]


class Plain(nn.Module):
    """A network alone, for programs that know nothing of averages."""

    def __init__(self, network: Network, modules: nn.Module) -> None:
        super().__init__()
        self.network, self.its_modules = network, modules

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Network`."""
        return self.network(images)


def can_write() -> bool:
    """Whether the package onnx is there, which `write_graph` needs."""
    return find_spec("onnx") is not None


@torch.no_grad()
def write_graph(network: Network, modules: nn.Module, file: Path, plain: bool = False) -> None:
    """Write an ONNX file for images of any size; with `plain` without averages. `modules`: on the CPU, in float32."""
    if not can_write():
        raise BadSetting("the package onnx is not installed; run pip install onnx.")
    images = torch.zeros(EXAMPLE)
    outputs = list(OUTPUTS[: len(network(images))])
    if plain:
        _write(Plain(network, modules), (images,), [IMAGES], outputs, file)
        return
    graph = Graph(network, modules)
    size = graph(images, torch.zeros(1, 2, MOST), torch.zeros(()))[-1].shape[2]
    inputs = (images, torch.zeros(1, 2, size), torch.zeros(()))
    _write(graph, inputs, [IMAGES, PAST, DECAY], [*outputs, STATISTICS], file)


def _write(
    module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str], outputs: Sequence[str], file: Path
) -> None:
    any_size = {IMAGES: {0: "batch", 2: "height", 3: "width"}}
    any_size |= {name: any_size[IMAGES] for name in OUTPUTS} | {STATISTICS: {0: "batch"}}
    with warnings.catch_warnings(), write_atomically(file) as partial:
        warnings.simplefilter("ignore")  # on constants, which are meant
        # The check would trace again, and find that constants are cached by then.
        traced = torch.jit.trace(module.eval(), inputs, check_trace=False)
        # dynamo=False: what the new exporter of torch 2.13 writes for these networks cannot be loaded.
        torch.onnx.export(
            cast(Any, traced),
            inputs,
            str(partial),
            input_names=list(names),
            output_names=list(outputs),
            dynamic_axes={name: any_size[name] for name in (*names, *outputs) if name in any_size},
            dynamo=False,
        )
