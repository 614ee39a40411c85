"""Which layers of a generator are trained: a fixed set, or StyleGAN-NADA's choice, made anew in every step.

Gal et al., "StyleGAN-NADA", SIGGRAPH 2022 (arXiv 2108.00946); shape, texture and no_fine are names of its code.
"""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from gen.errors import BadSetting
from gen.hda.settings import Layers
from gen.stylegan2.networks import NoisyGenerator
from gen.stylegan3.networks import StyleGAN3Generator

LATENT_RATE = 0.01
"""Learning rate of the plain gradient descent on the latents, as in StyleGAN-NADA's code."""


def set_trainable(generator: nn.Module, layers: Layers) -> None:
    """Set requires_grad for the parameters that `layers` selects. Raises `BadSetting` for generators it does not suit.

    The mapping network stays frozen: latents then mean the same in the source and the adapted generator.
    """
    if isinstance(generator, NoisyGenerator):
        prefixes = prefixes_of(len(generator.convs))[layers]
    elif isinstance(generator, StyleGAN3Generator) and layers in ("all", "affine"):
        prefixes = ("input.", "convs.")
    elif layers == "all":
        generator.requires_grad_(True)
        return
    else:
        raise BadSetting(
            f"layers={layers}: only StyleGAN2 and MobileStyleGAN have this set; use layers=all for this one, or, "
            "of StyleGAN3, layers=affine."
        )
    for name, parameter in generator.named_parameters():
        parameter.requires_grad_(name.startswith(prefixes) and (layers != "affine" or ".affine." in name))


def prefixes_of(count: int) -> dict[Layers, tuple[str, ...]]:
    """Beginnings of the names of the parameters in each set, for StyleGAN2 or MobileStyleGAN of `count` convolutions.

    What makes the image is called to_rgbs in the one, to_image in the other.
    """

    def convs(first: int, last: int = count) -> tuple[str, ...]:
        return tuple(f"convs.{i}." for i in range(first, min(last, count)))

    return {
        "all": ("constant", "convs.", "to_rgbs.", "to_image."),
        "nada": ("constant", "convs."),
        "affine": ("convs.",),
        "coarse": ("constant", *convs(0, count // 2)),
        "fine": (*convs(count // 2), "to_rgbs.", "to_image."),
        # StyleGAN-NADA's; its "layer" i, counted from 1, is our convolution i, after the one at 4 pixels.
        "shape": ("constant", *convs(0, 3)),
        "texture": ("constant", *convs(0, 1), *convs(3, 11)),
        "no_fine": ("constant", *convs(0, 11)),
    }


def choices(generator: nn.Module, count: int) -> dict[int, str]:
    """What the adaptive choice may train: index in W+ -> beginning of the names of the parameters which it modulates.

    Only layers that `set_trainable` left trainable; the constant has no latent, and what makes the image is never
    chosen. Departure from StyleGAN-NADA's code: there, a latent from the third on stands for the convolution before the
    one that it modulates, because a toRGB has a place among them. Raises `BadSetting` if there are fewer than `count`.
    """
    if isinstance(generator, NoisyGenerator):
        prefixes = {i: f"convs.{i}." for i in range(len(generator.convs))}
    elif isinstance(generator, StyleGAN3Generator):
        prefixes = {0: "input."} | {i + 1: f"convs.{i}." for i in range(len(generator.convs))}
    else:
        raise BadSetting("auto_layer_iters: the adaptive choice of layers needs a StyleGAN generator; set it to 0.")
    trainable = [name for name, parameter in generator.named_parameters() if parameter.requires_grad]
    found = {i: prefix for i, prefix in prefixes.items() if any(name.startswith(prefix) for name in trainable)}
    if len(found) < count:
        raise BadSetting(f"auto_layer_k: there are {len(found)} layers to choose from here, not {count}.")
    return found


def latent_movement(
    synthesis: Callable[[Tensor], Tensor], loss: Callable[[Tensor], Tensor], w: Tensor, layers: int, steps: int
) -> Tensor:
    """How far the latent of each layer moves in `steps` steps down `loss` of the drawn images: (layers,).

    w (B, w_dim) is where all layers start. The movement is the mean of |change| over batch and dimensions, by which
    StyleGAN-NADA ranks layers: a latent that moves far belongs to a layer that matters for the domain.
    """
    start = w.detach().unsqueeze(1).repeat(1, layers, 1)
    moved = start
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(loss(synthesis(moved)), moved)
        moved = moved - LATENT_RATE * slope
    return (moved.detach() - start).abs().mean((0, 2))


def farthest(movement: Tensor, among: Collection[int], count: int) -> list[int]:
    """The `count` indices `among` all with the largest movement, in ascending order."""
    values: list[float] = movement.tolist()
    return sorted(sorted(among, key=lambda index: -values[index])[:count])


def keep_gradients(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Drop the gradients of all parameters whose names do not begin with one of `prefixes`: the step leaves them."""
    for name, parameter in network.named_parameters():
        if not name.startswith(tuple(prefixes)):
            parameter.grad = None
