"""The checkpoint format of pSp and e4e (encoder4editing): read, without running code from the file.

A checkpoint is a dict: `state_dict` with the encoder's tensors as `encoder.*`, usually beside those of the generator
that it was trained with as `decoder.*`; `opts`, the settings of its training; and `latent_avg`, the average of w that
is added to what the encoder says, if the training started from it.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gen.errors import BadInput, short
from gen.formats.torch_files import TorchFile, is_tensor, is_torch
from gen.loading import loading
from gen.stylegan2.assembly import WIDEST, count_indices
from gen.stylegan2.networks import EqualLinear
from gen.stylegan2.photo_encoder import LAST, UNITS, PhotoEncoder
from gen.stylegan2.projector import Projected

log = logging.getLogger(__name__)

KINDS = {"Encoder4Editing": True, "GradualStyleEncoder": False}
"""Encoders by their name in `opts`: whether they give differences from the first latent."""

MOST_STYLES = 32
"""Layers of a generator; StyleGAN2 of 1024 pixels has 18."""

MAPPING = "decoder.style.1.weight"
"""First layer of the mapping network of the generator that the encoder was trained with."""


@loading
def load_photo_encoder(path: Path, generator: Projected) -> PhotoEncoder:
    """The encoder in a file, for photos that this generator is to draw; in evaluation mode, frozen, on the CPU.

    Raises `BadInput` for a file that is damaged or holds something else, and for an encoder whose latents do not fit
    the generator. Warns of one that was trained with another generator.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    with path.open("rb") as file:
        if not is_torch(file):
            raise BadInput(f"{path}: this file is no PyTorch checkpoint; give a .pt of encoder4editing or pSp.")
        opened = TorchFile(path, file)
        records, opts = _parts(path, opened.content)
        own = {name.removeprefix("encoder."): x for name, x in records.items() if name.startswith("encoder.")}
        encoder = _built(path, opened, own, opts)
        _check_fits(path, encoder, generator)
        average = opened.content.get("latent_avg")
        if opts.get("start_from_latent_avg", average is not None):
            # A file that lacks the average means that of the generator; the published code computes it, too.
            found = generator.w_average if average is None else opened.tensor("latent_avg", average)
            encoder.w_offset = _offset(path, found, encoder)
        if MAPPING in records and _is_another(opened.tensor(MAPPING, records[MAPPING]), generator):
            log.warning(f"{path}: this encoder was trained with another generator; what it finds may be far off.")
    return encoder.requires_grad_(False).eval()


def _parts(path: Path, content: Any) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The records of the state dict by name, and the settings of the training."""
    state = content.get("state_dict") if isinstance(content, dict) else None
    opts = content.get("opts") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(str(name).startswith("encoder.") for name in state):
        raise BadInput(f"{path}: no encoder in this file; a .pt of encoder4editing or pSp has state_dict.encoder.*.")
    kind = opts.get("encoder_type") if isinstance(opts, dict) else None
    if not isinstance(opts, dict) or not isinstance(kind, str) or kind not in KINDS:
        what = f"is {short(str(kind))}" if kind else "is not named in its opts"
        raise BadInput(f"{path}: its encoder {what}; {' and '.join(KINDS)} can be loaded.")
    if str(opts.get("dataset_type", "")).startswith("cars"):
        raise BadInput(f"{path}: this encoder was trained on cars of 256x192 pixels; only those of squares are used.")
    return {str(name): record for name, record in state.items()}, opts


def _built(path: Path, file: TorchFile, records: Mapping[str, Any], opts: Mapping[str, Any]) -> PhotoEncoder:
    """The network that the shapes in the file describe, with the weights of the file: all of them, and no others."""
    layers = count_indices(r"styles\.(\d+)\.", dict(records))
    if not 0 < layers <= MOST_STYLES:
        raise BadInput(f"{path}: its encoder gives {layers} latents; 1 to {MOST_STYLES} can be loaded.")
    firsts = [sum(UNITS[:stage]) for stage in range(len(UNITS))]
    sizing = ["input_layer.0.weight", *(f"body.{k}.res_layer.1.weight" for k in firsts), "styles.0.linear.weight"]
    stem, *widths, w_dim = (_outputs(path, file, name, records) for name in sizing)
    with torch.device("meta"):  # allocate nothing before all names and shapes are known to agree
        encoder = PhotoEncoder(layers, w_dim, stem, widths, KINDS[opts["encoder_type"]])
    wanted = {name: x.shape for name, x in encoder.state_dict().items()}
    for names, what in ((wanted.keys() - records.keys(), "are missing"), (records.keys() - wanted.keys(), "too many")):
        if names:
            raise BadInput(
                f"{path}: {len(names)} of the encoder's tensors {what}, for example encoder.{short(min(names))}; only "
                f"a body of IR-SE-50, with {LAST[-1] + 1} units, can be loaded."
            )
    weights = {name: _checked(path, name, file.tensor(name, records[name]), shape) for name, shape in wanted.items()}
    encoder.load_state_dict(weights, assign=True)
    encoder.w_offset = torch.zeros(layers, w_dim)
    return encoder


def _outputs(path: Path, file: TorchFile, name: str, records: Mapping[str, Any]) -> int:
    """Output channels of a layer."""
    if not is_tensor(records.get(name)):
        raise BadInput(f"{path}: encoder.{name} is missing; only a body of IR-SE-50 can be loaded.")
    shape = file.tensor(name, records[name]).shape
    if not shape or not 0 < shape[0] <= WIDEST:
        raise BadInput(f"{path}: encoder.{name} has the shape {list(shape)}, which no such encoder has.")
    return shape[0]


def _checked(path: Path, name: str, x: Tensor, shape: torch.Size) -> Tensor:
    if x.shape != shape:
        raise BadInput(
            f"{path}: encoder.{name} has the shape {list(x.shape)}, but the other tensors need {list(shape)}."
        )
    if name.endswith(".num_batches_tracked"):  # the only integers
        return x.long()
    if not x.is_floating_point() or not x.isfinite().all():
        raise BadInput(f"{path}: encoder.{name} holds something else than finite numbers with a floating point.")
    return x.float()


def _check_fits(path: Path, encoder: PhotoEncoder, generator: Projected) -> None:
    width = generator.w_average.shape[0]
    if (encoder.layers, encoder.w_dim) != (generator.layers, width):
        raise BadInput(
            f"{path}: this encoder gives {encoder.layers} latents of {encoder.w_dim} numbers, but the generator takes "
            f"{generator.layers} of {width}; give the encoder that was trained with this generator."
        )


def _offset(path: Path, average: Tensor, encoder: PhotoEncoder) -> Tensor:
    """`latent_avg` for each layer: it is stored for each, or once for all."""
    if average.shape not in ((encoder.w_dim,), (1, encoder.w_dim), (encoder.layers, encoder.w_dim)):
        raise BadInput(f"{path}: latent_avg has the shape {list(average.shape)}, which does not fit its encoder.")
    if not average.isfinite().all():
        raise BadInput(f"{path}: latent_avg holds NaN or infinite numbers.")
    return average.detach().float().cpu().expand(encoder.layers, -1).clone()


def _is_another(mapping: Tensor, generator: Projected) -> bool:
    """Whether the first layer of a mapping network is not that of the generator."""
    ours = cast(EqualLinear, generator.mapping.layers[0]).weight.detach().float().cpu()
    return mapping.shape != ours.shape or not torch.allclose(mapping.float(), ours, rtol=1e-3, atol=1e-4)
