"""SoMA (Yun et al. 2025, arXiv 2412.04077; ysj9909/SoMA): tune only the minor singular components of each weight.

W = U Σ Vᵀ; A = √Σ_r V_rᵀ and B = U_r √Σ_r of the r smallest singular values; W_res = W - B A is frozen, A, B, the bias
and the classifier's linear layer are trained. The first layers are frozen whole. The layer computes with W_res + B A,
so that at the start the network is unchanged; it is merged when it is selected, averaged by SWAD (A and B by
themselves would have another mean than their product) and exported, so that inference costs nothing more.

As published for the linear layers of a ViT, where a fused weight of queries, keys and values is three. Departures:
convolutions are decomposed as matrices (out, in · height · width), so that every backbone can be tuned; depthwise ones
are frozen; `frozen` counts layers and not blocks (published: 8 of 24). Optimiser and learning rate are those of the
other algorithms (published: AdamW with a schedule of weight decay, half the rate for the backbone, 40,000 steps of
segmentation). The published configurations take the exact decomposition, and so do we: their randomised one gives the
largest components.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gen.errors import BadSetting
from gen.smos.algorithms.base import Algorithm, Batch, Terms
from gen.smos.backbones import Classifier

ADDED = ".parametrizations.weight."
"""In the names of an adapted layer's parameters, in place of `.weight`."""


@dataclass(frozen=True)
class SoMAOptions:
    """Options of SoMA."""

    rank: Annotated[int, Field(ge=1)] = 16
    """r; at most the rank of the layer."""
    frozen: Annotated[float, Field(ge=0, lt=1)] = 1 / 3
    """Share of the layers that are frozen whole, from the input on."""


class MinorComponents(nn.Module):
    """W_res -> W_res + B A. `weight`: W, which is cut along its rows into `parts` matrices of equal size."""

    def __init__(self, weight: Tensor, rank: int, parts: int = 1) -> None:
        super().__init__()
        matrices = weight.detach().double().flatten(1).unflatten(0, (parts, -1))
        u, s, vt = torch.linalg.svd(matrices, full_matrices=False)
        root = s[:, -rank:].sqrt()  # singular values are in descending order
        self.A = nn.Parameter((root[:, :, None] * vt[:, -rank:]).to(weight.dtype))
        self.B = nn.Parameter((u[:, :, -rank:] * root[:, None]).to(weight.dtype))

    def forward(self, residual: Tensor) -> Tensor:
        """The weight that the layer computes with."""
        with torch.autocast(residual.device.type, enabled=False):  # a difference of bfloat16 would be lost
            return residual + (self.B @ self.A).view(residual.shape)


def adaptable(network: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Linear layers and convolutions that are not depthwise or grouped, by name, in the order of the network."""
    layers = ((n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    return {n: m for n, m in layers if isinstance(m, nn.Linear) or m.groups == 1}


def adapt(layer: nn.Linear | nn.Conv2d, rank: int, parts: int) -> None:
    """Let the layer compute with W_res + B A, of which B and A are trained."""
    minor = MinorComponents(layer.weight, rank, parts)
    with torch.no_grad():
        layer.weight.sub_((minor.B @ minor.A).view(layer.weight.shape))
    layer.weight.requires_grad_(False)
    parametrize.register_parametrization(layer, "weight", minor)
    if layer.bias is not None:
        layer.bias.requires_grad_()


class SoMA(Algorithm[SoMAOptions]):
    """ERM of an adapted student."""

    options_class = SoMAOptions

    def __init__(self, options: SoMAOptions, student: Classifier, domains: int) -> None:
        super().__init__(options, student, domains)
        student.body.requires_grad_(False)
        layers = list(adaptable(student.body).items())
        layers = layers[int(options.frozen * len(layers)) :]
        if not layers:
            raise BadSetting("backbone: it has no layer that soma can tune; choose another backbone.")
        for name, layer in layers:
            fused = name.endswith("qkv") and layer.weight.shape[0] % 3 == 0
            adapt(layer, options.rank, 3 if fused else 1)
        self.layers: dict[str, nn.Module] = {f"body.{name}": layer for name, layer in layers}

    @classmethod
    def describe(cls, options: SoMAOptions) -> str:
        """The loss in words."""
        return (
            f"cross-entropy, tuning the {options.rank} minor singular components of each weight but those of the first "
            f"{options.frozen:.0%} of layers"
        )

    def terms(self, batch: Batch) -> Terms:
        """Cross-entropy."""
        return {"cross_entropy": batch.cross_entropy}

    def plain_weights(self) -> Mapping[str, Tensor]:
        """With W_res + B A for each adapted layer."""
        kept = {name: value for name, value in self.student.state_dict().items() if ADDED not in name}
        with torch.no_grad():
            merged = {f"{name}.weight": cast(Tensor, layer.weight).detach() for name, layer in self.layers.items()}
        return {**kept, **merged}

    def load_plain_weights(self, weights: Mapping[str, Tensor]) -> None:
        """As W_res, with B A = 0: a mean of merged weights has no B and A of its own."""
        state: dict[str, Any] = {}
        for name, own in self.student.state_dict().items():
            layer, added, part = name.partition(ADDED)
            if added:
                state[name] = weights[f"{layer}.weight"] if part == "original" else torch.zeros_like(own)
            else:
                state[name] = weights[name]
        self.student.load_state_dict(state)
