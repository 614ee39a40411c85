"""The principal directions of w: in which a generator's pictures vary most, and how far.

Härkönen et al., "GANSpace: Discovering Interpretable GAN Controls", NeurIPS 2020 (arXiv 2004.02546): the principal
components of w over many z. A picture is edited by w + amount * deviation * direction, on all layers or on some.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from gen.about import VERSION
from gen.errors import BadInput, BadSetting, short, unknown
from gen.formats.json_files import read_bytes
from gen.formats.safetensors_files import read_safetensors
from gen.hda.parsing import Target, parse_names, parse_target
from gen.media.files import write_atomically
from gen.mobilestylegan.checkpoints import StyleGenerator
from gen.provenance import fingerprint_weights

FILE, NAMES = "directions.safetensors", "names.txt"
"""In the folder of `gen directions`: the directions, and the names that a person gave them."""

MOST = 64
"""Directions that are kept; w varies hardly along later ones."""

LARGEST_NAMES = 100_000
"""Bytes of `NAMES`."""

AT_ONCE = 1000
"""Latents that are mapped before the next ones are drawn."""


@dataclass(frozen=True)
class Directions:
    """Orthonormal directions in W, the one along which w varies most first."""

    vectors: Tensor
    """(n, w_dim), float32."""
    deviations: Tensor
    """(n,): standard deviation of w along each."""
    source: str
    """Fingerprint of the source generator; `gen adapt` does not change how w is made."""
    samples: int
    """Number of w that were analysed."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that tell these directions from others."""
        return fingerprint_weights({"directions": self.vectors, "deviations": self.deviations})

    def shift(self, edits: Mapping[Target, float], layers: int) -> Tensor:
        """What edits add to w of each layer, (layers, w_dim). `edits`: amounts in standard deviations.

        Raises `BadSetting` for a direction or layers that are not there.
        """
        total = torch.zeros(layers, self.vectors.shape[1])
        for target, amount in edits.items():
            self.check(target, layers)
            first, last = target.layers or (0, layers - 1)
            total[first : last + 1] += amount * self.deviations[target.component] * self.vectors[target.component]
        return total

    def check(self, target: Target, layers: int) -> None:
        """Raises `BadSetting` for a direction that is not there, or layers that the generator does not have."""
        if target.component >= len(self.vectors):
            raise BadSetting(f"direction {target}: there are {len(self.vectors)}, 0 to {len(self.vectors) - 1}.")
        check_layers(str(target), target.layers, layers)

    def save(self, path: Path) -> None:
        """Write safetensors."""
        header = {"source": self.source, "samples": str(self.samples), "gen": VERSION}
        with write_atomically(path) as partial:
            save_file({"directions": self.vectors, "deviations": self.deviations}, partial, metadata=header)

    @classmethod
    def load(cls, path: Path, source: str) -> "Directions":
        """Read what `save` wrote. Raises `BadInput`, also for directions of another generator than `source`."""
        tensors, header = read_safetensors(path)
        vectors, deviations = tensors.get("directions"), tensors.get("deviations")
        samples = header.get("samples", "")
        if vectors is None or deviations is None or vectors.ndim != 2 or deviations.shape != vectors.shape[:1]:
            raise BadInput(f"{path}: this file was not written by `gen directions`, or it is damaged.")
        if not (samples.isdecimal() and vectors.is_floating_point() and deviations.is_floating_point()):
            raise BadInput(f"{path}: this file was not written by `gen directions`, or it is damaged.")
        if (found := header.get("source", "")) != source:
            raise BadInput(
                f"{path}: these directions belong to the generator {short(found)}, but this one is {source}; find its "
                "own with gen directions --model MODEL --out FOLDER."
            )
        return cls(vectors.float(), deviations.float(), source, int(samples[:12]))


def check_layers(what: str, layers: tuple[int, int] | None, count: int) -> None:
    """Raises `BadSetting` for layers that a generator of `count` layers does not have."""
    if layers and layers[1] >= count:
        raise BadSetting(f"{what}: this generator has {count} layers, 0 to {count - 1}.")


@torch.no_grad()
def principal_directions(generator: StyleGenerator, source: str, samples: int) -> Directions:
    """The first `MOST` principal components of w over `samples` z of a fixed seed."""
    random = torch.Generator().manual_seed(0)
    like, found = generator.w_average, list[Tensor]()
    for first in range(0, samples, AT_ONCE):
        z = torch.randn(min(AT_ONCE, samples - first), generator.z_dim, generator=random)
        found.append(generator.mapping(z.to(like.device, like.dtype)).double().cpu())
    vectors, deviations = principal_components(torch.cat(found))
    return Directions(vectors[:MOST].float().contiguous(), deviations[:MOST].float().contiguous(), source, samples)


def principal_components(w: Tensor) -> tuple[Tensor, Tensor]:
    """w (n, d) -> directions (d, d), one a row, and the standard deviation along each, (d,), the largest first.

    A direction and its opposite are one component. Here its largest entry is positive, so that every machine finds the
    same one.
    """
    covariance = torch.cov(w.T)
    variances, columns = torch.linalg.eigh(covariance)
    rows = columns.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    return rows * largest.sign(), variances.flip(0).clamp(min=0).sqrt()


def read_names(folder: Path) -> dict[str, Target]:
    """The names in names.txt of a folder of `gen directions`; {} if there is none. Raises `BadInput`."""
    file = folder / NAMES
    if not file.exists():
        return {}
    try:
        return parse_names(read_bytes(file, LARGEST_NAMES).decode("utf-8-sig"), file)
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: this is no text in UTF-8; save it as UTF-8.") from error


def find_target(direction: str, names: Mapping[str, Target]) -> Target:
    """The direction of a name, or of a number such as 3 or 3:0-4. Raises `BadSetting` for an unknown name."""
    if (target := parse_target(direction)) is not None:
        return target
    if direction not in names:
        more = "" if names else f"; give it one in {NAMES}"
        raise BadSetting(unknown("direction", direction, names, f"{more}, or use its number, for example 3 or 3:0-4"))
    return names[direction]
