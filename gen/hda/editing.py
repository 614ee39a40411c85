"""How the faces of `gen generate` are drawn: truncation, style mixing, edits and strength."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gen.errors import BadSetting
from gen.hda.directions import FILE, Directions, check_layers, find_target, read_names
from gen.hda.parsing import MIX, STRENGTH, TRUNCATION, Axis, Mix, Target
from gen.hda.pipeline import HDAPipeline


@dataclass(frozen=True)
class Faces:
    """What is drawn: the faces of seeds, or given latents."""

    names: Sequence[str]
    """One for each face."""
    seeds: Sequence[int] | None
    latents: Tensor | None = None
    """(B, layers, w_dim) if there are no seeds."""

    def first(self, count: int) -> "Faces":
        """The first `count`."""
        seeds = None if self.seeds is None else self.seeds[:count]
        return Faces(self.names[:count], seeds, None if self.latents is None else self.latents[:count])


@dataclass(frozen=True)
class Look:
    """How faces are drawn, whoever they are."""

    truncation: float
    """Of the faces of seeds; latents are used as they are."""
    edits: Mapping[Target, float]
    """Amounts in standard deviations."""
    mix: Mix | None = None
    strength: float = 1.0
    """Factor of the pipeline's strengths."""

    def varied(self, key: str, value: float | Mix, target: Callable[[str], Target]) -> "Look":
        """With one value of an axis in place of its own. `target` finds the direction of a key."""
        if isinstance(value, Mix):
            return replace(self, mix=value)
        if key in (TRUNCATION, STRENGTH):
            return replace(self, **{key: value})
        return replace(self, edits={**self.edits, target(key): value})

    def text(self, directions: Directions | None) -> str:
        """The edits and the mix for the mark of a picture; empty without any."""
        parts = [f"edit {target}={amount:g}" for target, amount in self.edits.items() if amount]
        parts += [f"directions {directions.fingerprint}"] if parts and directions else []
        parts += [f"mix {self.mix} at truncation {self.truncation:g}"] if self.mix else []
        return "".join(f", {part}" for part in parts)


class Editor:
    """Makes the latents of faces in a look. It knows the directions, if they are needed."""

    def __init__(self, pipe: HDAPipeline, directions: Directions | None, names: Mapping[str, Target]) -> None:
        self.pipe, self.directions, self.names = pipe, directions, names

    def target(self, direction: str) -> Target:
        """The direction of a name or a number. Raises `BadSetting` if it is not there."""
        target = find_target(direction, self.names)
        if self.directions:
            self.directions.check(target, self.pipe.generator.layers)
        return target

    def check(self, look: Look) -> None:
        """Raises `BadSetting` for a mix from a layer that the generator does not have."""
        if look.mix:
            check_layers(f"mix {look.mix}", (look.mix.layer, look.mix.layer), self.pipe.generator.layers)

    def latents(self, faces: Faces, look: Look) -> Tensor:
        """w of each face, (B, w_dim) or (B, layers, w_dim): truncated, then mixed, then edited.

        So an edit moves a mixed face as a whole, and truncation does not weaken it. Raises `BadSetting`.
        """
        pipe, layers = self.pipe, self.pipe.generator.layers
        w = faces.latents if faces.seeds is None else pipe.latents(faces.seeds, look.truncation)
        assert w is not None
        self.check(look)
        if look.mix:
            w = mixed(w, pipe.latents([look.mix.seed], look.truncation), look.mix.layer, layers)
        if look.edits and self.directions:
            w = edited(w, self.directions.shift(look.edits, layers))
        return w


def load_editor(pipe: HDAPipeline, folder: Path, needed: bool) -> Editor:
    """An editor with the directions in a folder of `gen directions`, if they are needed. Raises `BadSetting`."""
    if not needed:
        return Editor(pipe, None, {})
    if not (folder / FILE).is_file():
        raise BadSetting(
            f"directions: {folder} has no {FILE}; write it with gen directions --model MODEL --out {folder}."
        )
    return Editor(pipe, Directions.load(folder / FILE, pipe.fingerprint), read_names(folder))


def needs_directions(edits: Sequence[str], axes: Sequence[Axis | None]) -> bool:
    """Whether an edit is asked for."""
    return bool(edits) or any(axis.key not in (TRUNCATION, STRENGTH, MIX) for axis in axes if axis)


def per_layer(w: Tensor, layers: int) -> Tensor:
    """w (B, w_dim) or (B, layers, w_dim) -> (B, layers, w_dim)."""
    return w.unsqueeze(1).expand(-1, layers, -1) if w.ndim == 2 else w


def mixed(coarse: Tensor, fine: Tensor, layer: int, layers: int) -> Tensor:
    """Style mixing (Karras et al. 2019): layers below `layer` from `coarse`, the others from `fine`.

    Both are (B, w_dim) or (B, layers, w_dim), `fine` also with B = 1; returns (B, layers, w_dim).
    """
    coarse, fine = per_layer(coarse, layers), per_layer(fine, layers).expand(len(coarse), -1, -1)
    return torch.cat([coarse[:, :layer], fine[:, layer:]], dim=1)


def edited(w: Tensor, shift: Tensor) -> Tensor:
    """w (B, w_dim) or (B, layers, w_dim), shift (layers, w_dim) -> their sum (B, layers, w_dim); w if shift is 0."""
    return per_layer(w, len(shift)) + shift.to(w) if shift.any() else w
