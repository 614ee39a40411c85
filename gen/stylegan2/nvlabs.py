"""The checkpoint format of NVlabs/stylegan2-ada-pytorch: read, without running code from the file.

An NVlabs pickle carries the source code of its classes, and NVlabs' own reader executes it. Here the calls that a
pickle asks for are recorded instead of made, and the weights of `G_ema` are picked out of these records. The shapes of
the weights alone decide what is built.
"""

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.formats.pickles import Allowed, Call, ForbiddenGlobal, PickleError, PickleReader
from gen.formats.torch_files import MOST_REUSE, PARAMETER, TENSOR, TorchFile, damaged, forbidden, strided, unreadable
from gen.stylegan2.assembly import Weights, build_generator, count_indices, prefixed, rename
from gen.stylegan2.networks import StyleGAN2Generator

MAPPING_RATE = 0.01
"""Learning rate multiplier of our mapping network, and of every published one."""

STORAGE = "torch.storage._load_from_bytes"
MODULE = "torch_utils.persistence._reconstruct_persistent_obj"

XL_EMBEDDING = "torch.nn.modules.sparse.Embedding"
"""In every StyleGAN-XL file, and in no other that NVlabs' code wrote."""

ALLOWED = Allowed(
    recorded=frozenset(
        {
            *(TENSOR, PARAMETER, STORAGE, MODULE, "numpy.dtype", "numpy.ndarray"),
            *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
        }
    ),
    containers={"collections.OrderedDict": dict, "dnnlib.util.EasyDict": dict, "builtins.set": set},
)
"""What a pickle may name. NumPy's functions hold only constants, which follow from the shapes as well."""


class Snapshot(NamedTuple):
    """The averaged generator in a file, as far as it is read before any tensor is."""

    path: Path
    modules: dict[str, dict[str, Any]]
    """Attributes of each module by the beginning of its tensors' names, "" for the generator itself."""
    records: dict[str, Any]
    """Name -> recorded tensor."""

    @property
    def is_stylegan3(self) -> bool:
        """Whether the generator begins with waves and not with a constant."""
        return any(re.match(r"synthesis\.(input\.|L\d+_)", name) for name in self.records)

    def clamp(self) -> float | None:
        """At which value all layers clamp their activations. Raises `BadInput`."""
        clamps = [state["conv_clamp"] for state in self.modules.values() if "conv_clamp" in state]
        if not all(isinstance(clamp, int | float | None) for clamp in clamps) or len(set(clamps)) > 1:
            raise BadInput(
                f"{self.path}: its layers clamp their activations at different values, which cannot be loaded."
            )
        return next(iter(clamps), None)


def snapshot(path: Path, content: Any) -> Snapshot:
    """The generator in what `load_pickle` read from `path`. Raises `BadInput`."""
    module = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(module, Call) or module.name != MODULE:
        raise BadInput(f"{path}: no G_ema in this file; an NVlabs .pkl keeps its averaged generator under that name.")
    try:
        modules = dict(_modules(module))
        records = {prefix + name: x for prefix, state in modules.items() for name, x in _own(state)}
    except Exception as error:  # a structure that is not a network's can raise anything
        raise damaged(path, error) from error
    return Snapshot(path, modules, records)


def from_nvlabs(found: Snapshot, of_class: int | None = None) -> StyleGAN2Generator:
    """The StyleGAN2 generator of a snapshot; that of one class if it draws several. Raises `BadInput`."""
    path, records = found.path, found.records
    if found.is_stylegan3:
        raise BadInput(f"{path}: this is a StyleGAN3 generator; only StyleGAN2 can be loaded.")
    check_activations(found, "StyleGAN2")
    clamp = found.clamp()
    names = _nvlabs_names(count_indices(r"synthesis\.b(\d+)\.", records), count_indices(r"mapping\.fc(\d+)\.", records))
    if "mapping.w_avg" in records:
        names["w_average"] = "mapping.w_avg"
    weights = read_weights(found, names, "resample_filter", "StyleGAN2", of_class)
    return build_generator(path, weights, clamp)


def check_activations(found: Snapshot, kind: str) -> None:
    """Raises `BadInput` for a dense layer whose activation or learning rate no `kind` of generator has."""
    unusual = [prefix.rstrip(".") for prefix, state in found.modules.items() if not _usual(prefix, state)]
    if unusual:
        raise BadInput(f"{found.path}: {unusual[0]} has an activation or learning rate that differs from {kind}'s.")


def read_weights(
    found: Snapshot, names: dict[str, str], ignored: str, kind: str, of_class: int | None = None
) -> Weights:
    """The tensors of a snapshot under our names (see `rename`), its mapping network as that of one class."""
    path, records = found.path, dict(found.records)
    embedded = [f"mapping.embed.{part}" for part in ("weight", "bias") if f"mapping.embed.{part}" in records]
    classes = {name: records.pop(name) for name in embedded}
    reader = Tensors(path)
    weights = rename(path, records, names, ignored, reader.read, kind)
    embedding = {name.removeprefix("mapping.embed."): reader.read(name, x) for name, x in classes.items()}
    return weights | _of_class(path, weights, embedding, of_class)


def _of_class(path: Path, weights: Weights, embedding: Weights, number: int | None) -> Weights:
    """The first layer of the mapping network for one class.

    The published layer takes (z, e) with e of the class alone: its part for e is a constant, and becomes bias.
    """
    if not embedding:
        if number is not None:
            raise BadInput(f"{path}: the generator has no classes; leave :{number} out.")
        return {}
    if embedding.keys() != {"weight", "bias"} or embedding["weight"].ndim != 2:
        raise BadInput(f"{path}: the embedding of its classes is damaged.")
    width, count = embedding["weight"].shape
    if number is None or number >= count:
        raise BadInput(
            f"{path}: the generator draws {count} classes; name one by its number, for example {path.name}:{count - 1}."
        )
    layer, bias = (weights[f"mapping.layers.0.{part}"].float() for part in ("weight", "bias"))
    if layer.ndim != 2 or layer.shape[1] <= width or embedding["bias"].shape != (width,):
        raise BadInput(f"{path}: the embedding of its classes does not fit its mapping network.")
    z_dim, inputs = layer.shape[1] - width, layer.shape[1]
    e = embedding["weight"][:, number].float() / math.sqrt(count) + embedding["bias"].float()
    e = e * torch.rsqrt(e.square().mean() + 1e-8)
    return {
        "mapping.layers.0.weight": layer[:, :z_dim] * math.sqrt(z_dim / inputs),
        "mapping.layers.0.bias": bias + layer[:, z_dim:] @ e / math.sqrt(inputs),
    }


def _nvlabs_names(levels: int, mapping_layers: int) -> dict[str, str]:
    """Our tensor names -> NVlabs', except for the average of w."""
    names = {"constant": "synthesis.b4.const"}
    for i in range(mapping_layers):
        names |= prefixed(f"mapping.layers.{i}", f"mapping.fc{i}", {"weight": "weight", "bias": "bias"})
    rgb = {"conv.weight": "weight", "bias": "bias"} | {f"conv.affine.{x}": f"affine.{x}" for x in ("weight", "bias")}
    for k in range(2 * levels - 1):
        styled = rgb | {"noise_strength": "noise_strength", "noise": "noise_const"}
        names |= prefixed(f"convs.{k}", f"synthesis.b{4 * 2 ** ((k + 1) // 2)}.conv{(k + 1) % 2}", styled)
    for j in range(levels):
        names |= prefixed(f"to_rgbs.{j}", f"synthesis.b{4 * 2**j}.torgb", rgb)
    return names


def load_pickle(path: Path, file: IO[bytes]) -> Any:
    """The content of the pickle, with recorded calls in place of objects. Raises `BadInput`."""
    try:
        return PickleReader(file, ALLOWED).load()
    except ForbiddenGlobal as error:
        if str(error) == XL_EMBEDDING:
            raise BadInput(
                f"{path}: this is a StyleGAN-XL generator, which is not loaded: its classes come from a pretrained "
                "embedding, and its finer layers follow no schedule of StyleGAN3's; StyleGAN2 and StyleGAN3 are."
            ) from error
        raise forbidden(path, str(error)) from error
    except Exception as error:  # a damaged pickle can raise a dozen kinds
        raise damaged(path, error) from error


def _modules(module: Call, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name prefix, attributes) of a recorded module and of all its submodules. Raises `ValueError` for a cycle."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        raise ValueError(f"{prefix} occurs twice")
    seen.add(id(module))
    state = module.arguments[0]["state"]
    yield prefix, state
    for name, child in state["_modules"].items():
        yield from _modules(child, f"{prefix}{name}.", seen)


def _own(state: dict[str, Any]) -> list[tuple[str, Any]]:
    """(name, recorded tensor) of the parameters and buffers of this module alone."""
    return [(name, x) for kind in ("_parameters", "_buffers") for name, x in state[kind].items() if x is not None]


def _usual(prefix: str, state: dict[str, Any]) -> bool:
    """Whether a module has our activation and learning rate, which the tensor shapes do not show."""
    activation = "linear" if prefix.endswith(".affine.") else "lrelu"
    rate = MAPPING_RATE if prefix.startswith("mapping.fc") else 1
    return state.get("activation", activation) == activation and state.get("bias_gain", rate) == rate


class Tensors:
    """Reads the tensors that recorded calls describe."""

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, MOST_REUSE * path.stat().st_size

    def read(self, name: str, record: Any) -> Tensor:
        """The tensor of one record. Raises `BadInput`."""
        try:
            if record.name == PARAMETER:
                record = record.arguments[0]
            storage, offset, size, stride = record.arguments[:4]
            if record.name != TENSOR or storage.name != STORAGE:
                raise TypeError(f"{record.name} of {storage.name}")
            content = storage.arguments[0]
            self._left -= len(content)  # many tensors may refer to one storage, and each reads it again
            if self._left < 0:
                raise PickleError(f"its tensors hold more than {MOST_REUSE} times as much as the file")
            file = TorchFile(self._path, io.BytesIO(content))
            return strided(file.block(file.content), offset, size, stride)
        except BadInput:
            raise
        except Exception as error:  # a record that is not a tensor's can raise anything
            raise unreadable(self._path, name, error) from error
