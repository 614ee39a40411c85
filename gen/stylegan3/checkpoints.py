"""Load generators of other projects, StyleGAN3 too, without running code from the files."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gen.errors import BadInput, short
from gen.loading import loading
from gen.stylegan2.assembly import MOST_LAYERS, WIDEST, count_indices, prefixed
from gen.stylegan2.checkpoints import load_by
from gen.stylegan2.networks import StyleGAN2Generator
from gen.stylegan2.nvlabs import Snapshot, Tensors, check_activations, from_nvlabs, read_weights
from gen.stylegan3.filters import Taps
from gen.stylegan3.networks import AliasFreeLayer, StyleGAN3Generator

OURS = {
    "img_resolution": "size",
    "channel_base": "channel_base",
    "channel_max": "channel_max",
    "conv_kernel": "kernel",
    "use_radial_filters": "radial",
    "w_dim": "w_dim",
    "num_layers": "synthesis_layers",
    "num_critical": "critical_layers",
    "first_cutoff": "first_cutoff",
    "first_stopband": "first_stopband",
    "last_stopband_rel": "last_stopband",
    "margin_size": "margin",
    "filter_size": "filter_size",
    "lrelu_upsampling": "upsampling",
    "output_scale": "output_scale",
}
"""NVlabs' names of what the shapes of the tensors do not show -> ours."""

UNUSED = {"img_channels", "conv_clamp", "num_fp16_res", "magnitude_ema_beta"}
"""Those that are read elsewhere, or that only training needs."""

LARGEST = {
    "size": 1024, "channel_base": 1 << 20, "channel_max": WIDEST, "kernel": 3, "w_dim": WIDEST,
    "synthesis_layers": MOST_LAYERS, "margin": 64, "filter_size": 16, "upsampling": 4,
}  # fmt: skip
"""Of the integers; published ones are far below, except `size`."""


@loading
def load_generator(path: Path) -> StyleGAN2Generator | StyleGAN3Generator:
    """As `load_stylegan2`, and also the averaged generator of a StyleGAN3 `.pkl` (t or r). Raises `BadInput`."""
    return load_by(path, _of_snapshot)


def _of_snapshot(found: Snapshot, of_class: int | None) -> StyleGAN2Generator | StyleGAN3Generator:
    return (from_stylegan3 if found.is_stylegan3 else from_nvlabs)(found, of_class)


def from_stylegan3(found: Snapshot, of_class: int | None = None) -> StyleGAN3Generator:
    """The StyleGAN3 generator of a snapshot; that of one class if it draws several.

    Raises `BadInput`, also where the filters in the file are not those that its settings give.
    """
    path = found.path
    check_activations(found, "StyleGAN3")
    mapping_layers = count_indices(r"mapping\.fc(\d+)\.", found.records)
    if mapping_layers > MOST_LAYERS:
        raise BadInput(f"{path}: a mapping network of {mapping_layers} layers; at most {MOST_LAYERS} can be loaded.")
    layers = _layer_names(found)
    weights = read_weights(found, _names(layers, mapping_layers), "_filter", "StyleGAN3", of_class)
    first = weights["mapping.layers.0.weight"].shape
    if len(first) != 2 or not 0 < first[-1] <= WIDEST:
        raise BadInput(f"{path}: mapping.fc0.weight has the shape {list(first)}, which no StyleGAN3 generator has.")
    given: dict[str, Any] = _settings(found) | {
        "z_dim": first[-1],
        "mapping_layers": mapping_layers,
        "conv_clamp": found.clamp(),
    }
    try:
        with torch.device("meta"):  # allocate nothing before all shapes are known to agree
            generator = StyleGAN3Generator(**given)
    except (ValueError, ZeroDivisionError, OverflowError, RuntimeError) as error:
        raise BadInput(f"{path}: no StyleGAN3 generator has such layers ({short(str(error))}).") from error
    if len(generator.convs) != len(layers):
        raise BadInput(f"{path}: it has {len(layers)} layers, but its settings need {len(generator.convs)}.")
    for name, tensor in generator.state_dict().items():
        if weights[name].shape != tensor.shape:
            found_shape, needed = list(weights[name].shape), list(tensor.shape)
            raise BadInput(f"{path}: {name} has the shape {found_shape}, but its settings need {needed}.")
    _check_filters(found, generator, layers)
    generator.load_state_dict({name: x.float().contiguous() for name, x in weights.items()}, assign=True)
    return generator.eval()


def _layer_names(found: Snapshot) -> list[str]:
    """The synthesis layers, named L{number}_{size}_{channels}, in their order."""
    names = {name.split(".")[1] for name in found.records if name.startswith("synthesis.L")}
    try:
        return [f"synthesis.{name}" for name in sorted(names, key=lambda name: int(name[1:].split("_")[0]))]
    except ValueError as error:
        raise BadInput(f"{found.path}: its layers are not named as in StyleGAN3.") from error


def _names(layers: list[str], mapping_layers: int) -> dict[str, str]:
    """Our tensor names -> NVlabs'."""
    dense = {"weight": "weight", "bias": "bias"}
    affine = {f"affine.{part}": f"affine.{part}" for part in dense}
    names = {"w_average": "mapping.w_avg"}
    for i in range(mapping_layers):
        names |= prefixed(f"mapping.layers.{i}", f"mapping.fc{i}", dense)
    waves = {"weight": "weight", "transform": "transform", "frequencies": "freqs", "phases": "phases"}
    names |= prefixed("input", "synthesis.input", waves | affine)
    for i, layer in enumerate(layers):
        names |= prefixed(f"convs.{i}", layer, dense | affine | {"magnitude": "magnitude_ema"})
    return names


def _settings(found: Snapshot) -> dict[str, Any]:
    """Constructor arguments that the file states, for the network as a whole or as arguments of its class."""
    state = found.modules.get("synthesis.", {})
    arguments = state.get("_init_kwargs")
    if not isinstance(arguments, dict):
        raise BadInput(f"{found.path}: this file does not say how its synthesis network was made.")
    if unknown := sorted(str(name) for name in arguments.keys() - OURS.keys() - UNUSED):
        raise BadInput(
            f"{found.path}: its synthesis network has the setting {short(unknown[0])}, which StyleGAN3 has not."
        )
    if arguments.get("img_channels", 3) != 3:
        raise BadInput(f"{found.path}: it draws {short(repr(arguments['img_channels']))} channels; three are needed.")
    values = {**arguments, **{name: state[name] for name in OURS if name in state}}
    return {OURS[name]: _number(found.path, name, value) for name, value in values.items() if name in OURS}


def _number(path: Path, name: str, value: Any) -> Any:
    """The value of a setting. Raises `BadInput` for one that no published generator comes near."""
    ours = OURS[name]
    if ours == "radial":
        usual = isinstance(value, bool)
    elif ours in LARGEST:
        usual = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST[ours]
    else:
        usual = isinstance(value, int | float) and math.isfinite(value) and 0 < value <= 1024
    if not usual:
        raise BadInput(f"{path}: {name} is {short(repr(value))}, with which no StyleGAN3 generator can be loaded.")
    return value


def _check_filters(found: Snapshot, generator: StyleGAN3Generator, layers: list[str]) -> None:
    """Raises `BadInput` if a filter in the file differs from ours by more than float32's rounding."""
    reader = Tensors(found.path)
    for layer, conv in zip(layers, generator.convs, strict=True):
        assert isinstance(conv, AliasFreeLayer)
        for kind, taps in (("up_filter", conv.up_filter), ("down_filter", conv.down_filter)):
            name = f"{layer}.{kind}"
            theirs = reader.read(name, found.records[name]) if name in found.records else None
            if not _equal(theirs, taps):
                raise BadInput(f"{found.path}: {name} is not the filter that the settings of this generator give.")


def _equal(theirs: Tensor | None, ours: Taps) -> bool:
    if theirs is None:
        return len(ours) == 1
    taps = torch.tensor(ours, dtype=torch.float64)
    return theirs.numel() == len(taps) and bool((theirs.double().flatten() - taps).abs().max() < 1e-6)
