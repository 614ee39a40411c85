"""Cost of the networks: parameters, and multiply-accumulates (MACs) by torch's own counter."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gen.augan.generator_pair import GeneratorPair
from gen.augan.networks import AUGANGenerator, DiscriminatorSet
from gen.augan.settings import AUGANSettings, published_discriminators
from gen.training.projected import ProjectedHeads, Projector


def count_parameters(network: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(p.numel() for p in network.parameters())


def shadows(settings: AUGANSettings) -> dict[str, nn.Module]:
    """The networks that a run trains, by name, without memory for their weights."""
    s = settings
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {"generators": GeneratorPair(s)}
        if s.adversary != "none":
            projected = s.projected_width if s.adversary in ("projected", "both") else 0
            count = published_discriminators(s)
            networks["discriminators"] = DiscriminatorSet(s.discriminator_width, count=count, projected_width=projected)
    return networks


def translation_macs(generator: AUGANGenerator, size: tuple[int, int]) -> int:
    """MACs of translating one frame of `size` (H, W), padded as in use; computed from shapes without running it."""
    height, width = (-(-side // generator.multiple) * generator.multiple for side in size)
    with torch.device("meta"):
        shadow = AUGANGenerator(**generator.settings())
        return _macs(shadow, torch.empty(1, 3, height, width))


def training_macs(settings: AUGANSettings) -> int:
    """MACs of the forward passes of one training pair: the generators once, the discriminators three times."""
    height, width = settings.crop
    with torch.device("meta"):
        image = torch.empty(1, 3, height, width)
        noise = torch.empty(2, 1, 4 * settings.width, height // 4, width // 4)
        generators = _macs(GeneratorPair(settings), image, image, (noise, noise))
        published = DiscriminatorSet(settings.discriminator_width, count=published_discriminators(settings))
        discriminators = _macs(published, image, image)
    if settings.adversary in ("projected", "both"):
        frame = torch.zeros(1, 3, height, width)  # not on the meta device: the frozen network loads its weights
        projector, heads = Projector(settings.projected_width, seed=0), ProjectedHeads(settings.projected_width)
        discriminators += 2 * (_macs(projector, frame) + _macs(heads, projector(frame)))
    # Fakes in the generator step; fakes and real images in the discriminator step.
    return generators + 3 * discriminators


def _macs(network: nn.Module, *inputs: Any) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(*inputs)
    return counter.get_total_flops() // 2  # one multiply-accumulate is two FLOPs
