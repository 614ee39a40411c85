"""A translator's network as an ONNX file, for other runtimes.

The instance norms average their statistics over the frames of a clip (`gen.translation.norm.StatisticsSmoother`). A
graph keeps nothing from frame to frame, so the averages go in and come out. With a decay of 0 they have no effect: one
graph serves pictures and clips.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
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
EXAMPLE = (1, 3, 96, 144)
"""Shape of the images that a network is traced with; its graph takes all that the network takes."""
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
    """A network with the averages of its norms as an input and an output; without norms, the network alone."""

    def __init__(self, network: Network, modules: nn.Module) -> None:
        """`modules` has all norms of `network`, which runs through each of them at most once."""
        super().__init__()
        self.network, self.its_modules = network, modules
        self.norms = [module for module in modules.modules() if isinstance(module, InstanceNorm)]

    def forward(self, images: Tensor, past: Tensor | None = None, decay: Tensor | None = None) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W), averages (1, 2, C) and their weight, 0 to 1 -> outputs, then (B, 2, C) averages."""
        if past is None or decay is None:
            return self.network(images)
        flow = _Flow(past, decay)
        for norm in self.norms:
            norm.smoother = cast(Any, flow)
        try:
            outputs = self.network(images)
        finally:
            for norm in self.norms:
                norm.smoother = None
        return *outputs, torch.cat(flow.now, dim=2)


def can_write() -> bool:
    """Whether the package onnx is there, which `write_graph` needs."""
    return find_spec("onnx") is not None


@torch.no_grad()
def write_graph(network: Network, modules: nn.Module, file: Path) -> None:
    """Write `Graph` as an ONNX file for images of any size. `modules` must be on the CPU, in float32."""
    graph, images = Graph(network, modules), torch.zeros(EXAMPLE)
    if not graph.norms:
        write_onnx(graph, {IMAGES: images}, OUTPUTS[: len(network(images))], file)
        return
    *outputs, averages = graph(images, torch.zeros(1, 2, MOST), torch.zeros(()))
    inputs = {IMAGES: images, PAST: torch.zeros(1, 2, averages.shape[2]), DECAY: torch.zeros(())}
    write_onnx(graph, inputs, [*OUTPUTS[: len(outputs)], STATISTICS], file)


@torch.no_grad()
def write_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    file: Path,
    axes: Mapping[str, dict[int, str]] | None = None,
) -> None:
    """Write a module as an ONNX file. `inputs`: an example of each, by name.

    `axes`: for inputs and outputs by name, the axes that may have any size, each with a name. None: images (B, C, H, W)
    may have any size. Raises `BadSetting` if the package onnx is missing.
    """
    if not can_write():
        raise BadSetting("the package onnx is not installed; run pip install onnx.")
    pictures = [*(name for name, value in inputs.items() if value.ndim == 4), *outputs]
    images = {name: {0: "batch", 2: "height", 3: "width"} for name in pictures} | {STATISTICS: {0: "batch"}}
    sizes = images if axes is None else axes
    torch.onnx.register_custom_op_symbolic("aten::expm1", _expm1, 9)
    with warnings.catch_warnings(), write_atomically(file) as partial:
        warnings.simplefilter("ignore")  # on constants, which are meant
        # The check would trace again, and find that constants are cached by then.
        traced = torch.jit.trace(module.eval(), tuple(inputs.values()), check_trace=False)
        # dynamo=False: what the new exporter of torch 2.13 writes for these networks cannot be loaded.
        torch.onnx.export(
            cast(Any, traced),
            tuple(inputs.values()),
            str(partial),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: axes for name, axes in sizes.items() if name in (*inputs, *outputs)},
            dynamo=False,
        )


def _expm1(graph: Any, x: Any) -> Any:
    """ONNX has no such operation."""
    return graph.op("Sub", graph.op("Exp", x), graph.op("Constant", value_t=torch.tensor(1.0)))
