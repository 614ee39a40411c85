"""An adaptation: the difference between adapted and source weights, with a record of how it was made."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gen.errors import BadInput, short, unknown
from gen.formats.json_files import parse_json
from gen.formats.safetensors_files import read_safetensors
from gen.hda.parsing import ADAPTATION_FILE
from gen.media.files import write_atomically
from gen.provenance import fingerprint_weights
from gen.weights import available


@dataclass(frozen=True)
class Adaptation:
    """theta_T - theta_S, for the tensors that changed."""

    name: str
    source: str
    """`fingerprint` of the source generator."""
    difference: dict[str, Tensor]
    record: dict[str, Any]
    """Domains, weights, encoders, seed, settings."""

    @property
    def named(self) -> str:
        """How the source generator was named when the adaptation was made, in brackets; empty if nothing says so."""
        try:
            return f" ({short(self.record['settings']['source'])})"
        except (LookupError, TypeError):
            return ""

    def save(self, path: Path) -> None:
        """Write float16 safetensors, with the record in the header."""
        header = {"name": self.name, "source": self.source, "record": json.dumps(self.record)}
        tensors = {k: v.to("cpu", torch.float16).contiguous() for k, v in self.difference.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as partial:
            save_file(tensors, partial, metadata=header)

    @classmethod
    def load(cls, path: Path) -> "Adaptation":
        """Read what `save` wrote. Raises `BadInput` for any other file."""
        if not path.is_file():
            shipped = available(ADAPTATION_FILE)
            raise BadInput(f"{unknown('adaptation', path, shipped)} Others are files that `gen adapt` writes.")
        difference, header = read_safetensors(path)
        try:
            name, source, record = plain_name(header["name"]), header["source"], header["record"]
        except (KeyError, ValueError) as error:
            raise BadInput(f"{path}: this file was not written by `gen adapt`, or it is damaged.") from error
        if not all(tensor.is_floating_point() for tensor in difference.values()):
            raise BadInput(f"{path}: an adaptation holds floating-point numbers alone; this file was changed.")
        return cls(name, source, difference, parse_json(record, f"{path}: record"))


def plain_name(name: str) -> str:
    """The name, if it is safe as a file name. Raises `ValueError` for others, such as `../x`."""
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise ValueError(name)
    return name


def fingerprint(generator: nn.Module) -> str:
    """SHA-256 prefix of a generator's weights as float16, so that its float32 and float16 files agree."""
    return fingerprint_weights(generator.state_dict(), torch.float16)


def difference(source: nn.Module, adapted: nn.Module) -> dict[str, Tensor]:
    """theta_T - theta_S in float32, without the tensors that did not change."""
    before, after = source.state_dict(), adapted.state_dict()
    changed = {k: after[k].detach().float() - before[k].detach().float() for k in before}
    return {k: v.cpu() for k, v in changed.items() if v.any()}


def blend(generator: nn.Module, source: dict[str, Tensor], parts: Sequence[tuple[Adaptation, float]]) -> None:
    """Set `generator` to theta_S + sum k (theta_T - theta_S), where `source` is theta_S and `parts` has the k.

    If all k are 0, the result is the source bit for bit. Raises `BadInput` for an adaptation of another generator.
    """
    weights = {key: value.clone() for key, value in source.items()}
    for adaptation, strength in parts:
        if strength == 0:
            continue
        for key, change in adaptation.difference.items():
            if key not in weights or weights[key].shape != change.shape:
                raise BadInput(
                    f"adaptation {adaptation.name[:80]}: made for a generator of another shape ({short(key)})."
                )
            weights[key] += strength * change.to(weights[key])
    generator.load_state_dict(weights)
