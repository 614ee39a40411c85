"""Start the training of a generator from that of a model, which may draw smaller images."""

from pathlib import Path
from typing import cast

import torch

from gen.errors import BadInput, BadSetting
from gen.formats.model_folders import load_network
from gen.loading import loading
from gen.stylegan2.checkpoints import is_checkpoint, load_stylegan2
from gen.stylegan2.networks import StyleGAN2Generator, ToRGB
from gen.weights import fetch


@loading
def load_start(start: Path) -> StyleGAN2Generator:
    """The generator of a model folder, of shipped weights, or of another project's file. Raises `BadSetting`."""
    try:
        if is_checkpoint(start):
            return load_stylegan2(start)
        return load_network(StyleGAN2Generator, fetch(start) / "generator")
    except BadInput as error:
        raise BadSetting(f"start_from: {error}") from error


@torch.no_grad()
def begin_with(generator: StyleGAN2Generator, name: Path) -> None:
    """Give `generator` the weights of the model `name`; it begins by drawing that model's images, enlarged.

    Where `generator` has finer levels, their convolutions stay random, and add nothing to the image at first: their
    toRGB is zero (progressive growing fades a new level in, Karras et al. 2018). Raises `BadSetting` if there is no
    such model, or if the levels that both have are not of one shape.
    """
    start = load_start(name)
    own, theirs = generator.settings(), start.settings()
    shared = len(theirs["channels"])
    if len(own["channels"]) < shared:
        raise BadSetting(f"size: must be at least {start.size}, as in start_from {name}, not {generator.size}.")
    if list(own["channels"])[:shared] != list(theirs["channels"]):
        raise BadSetting(
            f"channel_multiplier and channel_max: must give {', '.join(map(str, theirs['channels']))} channels at 4 to "
            f"{start.size} pixels, as in start_from {name}, not {', '.join(map(str, own['channels'][:shared]))}."
        )
    for setting in ("z_dim", "w_dim", "mapping_layers"):
        if own[setting] != theirs[setting]:
            told = "z_dim" if setting == "w_dim" else setting  # training has one setting for both
            raise BadSetting(f"{told}: must be {theirs[setting]}, as in start_from {name}, not {own[setting]}.")
    generator.load_state_dict({**generator.state_dict(), **start.state_dict()})
    for level in range(shared, len(own["channels"])):
        cast(ToRGB, generator.to_rgbs[level]).conv.weight.zero_()
