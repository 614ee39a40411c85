"""StyleGAN2 generators from elsewhere: rosinality's .pt and NVlabs' .pkl, read without running code from either.

An NVlabs pickle carries the source code of its classes, which NVlabs' reader executes. Here the calls that a pickle
asks for are written down instead of made, and the weights of `G_ema` are picked out of the notes; the shapes of the
weights alone decide what is built.
"""

import argparse
import io
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gen.errors import BadInput
from gen.hda.networks import StyleGAN2Generator
from gen.media.files import write_atomically

Weights = dict[str, Tensor]

TORCH_LEGACY = torch.serialization.MAGIC_NUMBER.to_bytes(10, "little")
"""Near the start of what torch.save wrote before it wrote zip files."""

MAPPING_RATE = 0.01
"""The learning rate multiplier of our mapping network, and of every published one."""

MOST_LEVELS = 9
"""4 to 1024 pixels."""

LATENTS = 10_000
"""Latents whose w are averaged where a file has no average of its own."""

TENSOR = "torch._utils._rebuild_tensor_v2"
PARAMETER = "torch._utils._rebuild_parameter"
STORAGE = "torch.storage._load_from_bytes"
MODULE = "torch_utils.persistence._reconstruct_persistent_obj"

CONTAINERS: dict[str, type] = {"collections.OrderedDict": dict, "dnnlib.util.EasyDict": dict, "builtins.set": set}
"""What a pickle may build. Python's own types: a pickle cannot change them."""

RECORDED = {
    *(TENSOR, PARAMETER, STORAGE, MODULE, "numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
}
"""What a pickle may ask to be called. Nothing of it is. NumPy holds only constants that the shapes give as well."""


def load_stylegan2(path: Path) -> StyleGAN2Generator:
    """The averaged generator of a rosinality `.pt` or of a StyleGAN2-ADA PyTorch `.pkl`, told apart by content.

    Raises `BadInput` for a file that is damaged or incomplete, that is another kind of model, or that needs code of
    its own. Where the file has no average of w, the one of 10,000 latents takes its place; where a `.pt` has no noise
    maps, they are drawn with seed 0.
    """
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file.")
    with path.open("rb") as file:
        head = file.read(32)
        file.seek(0)
        if head.startswith(b"PK") or TORCH_LEGACY in head:
            return _from_rosinality(path, _load_torch(path, file))
        if head.startswith(b"\x80"):
            return _from_nvlabs(path, _load_pickle(path, file))
    raise BadInput(f"{path}: the file is neither a rosinality .pt nor an NVlabs .pkl.")


def save_rosinality(generator: StyleGAN2Generator, path: Path) -> None:
    """Write `g_ema` and `latent_avg` under rosinality's names, filters included, as most other tools read them.

    Those tools take the channels from the size and one multiplier, as `config_f_channels` gives them for multipliers
    1 and 2, and need z as wide as w. Other generators are written too, but only `load_stylegan2` reads them.
    """
    names = _rosinality_names(len(generator.to_rgbs), len(generator.mapping.layers))
    ours = {name: tensor.detach().float().cpu().clone() for name, tensor in generator.state_dict().items()}
    theirs = {names[name]: _rosinality_shape(name, ours[name]) for name in names}
    theirs |= _rosinality_filters(len(generator.to_rgbs))
    with write_atomically(path) as partial:
        torch.save({"g_ema": theirs, "latent_avg": ours["w_average"]}, partial)


# --- rosinality ---


def _from_rosinality(path: Path, content: Any) -> StyleGAN2Generator:
    if not isinstance(content, dict) or not isinstance(content.get("g_ema"), dict):
        raise BadInput(f"{path}: there is no g_ema in it; a rosinality .pt holds its averaged generator by that name.")
    theirs: dict[str, Any] = {str(name): tensor for name, tensor in content["g_ema"].items()}
    names = _rosinality_names(1 + _count(r"to_rgbs\.(\d+)\.", theirs), _count(r"style\.(\d+)\.", theirs))
    if not any(name.startswith("noises.") for name in theirs):
        names = {ours: name for ours, name in names.items() if not name.startswith("noises.")}
    if content.get("latent_avg") is not None:
        names["w_average"], theirs["latent_avg"] = "latent_avg", content["latent_avg"]
    return _generator(path, _renamed(path, theirs, names, ignored=".kernel"))


def _rosinality_names(levels: int, mapping_layers: int) -> dict[str, str]:
    """Our name -> rosinality's, but for the average of w."""
    names = {"constant": "input.input"}
    for i in range(mapping_layers):
        names |= _pairs(f"mapping.layers.{i}", f"style.{i + 1}", {"weight": "weight", "bias": "bias"})
    conv = {"conv.weight": "conv.weight"} | {f"conv.affine.{x}": f"conv.modulation.{x}" for x in ("weight", "bias")}
    for k in range(2 * levels - 1):
        styled = conv | {"bias": "activate.bias", "noise_strength": "noise.weight"}
        names |= _pairs(f"convs.{k}", f"convs.{k - 1}" if k else "conv1", styled)
        names[f"convs.{k}.noise"] = f"noises.noise_{k}"
    for j in range(levels):
        names |= _pairs(f"to_rgbs.{j}", f"to_rgbs.{j - 1}" if j else "to_rgb1", conv | {"bias": "bias"})
    return names


def _rosinality_shape(name: str, tensor: Tensor) -> Tensor:
    """Our tensor with the dimensions of length one that rosinality's has."""
    if name.endswith("conv.weight"):
        return tensor[None]
    if name.endswith("noise_strength"):
        return tensor.reshape(1)
    return tensor.reshape(1, -1, 1, 1) if re.fullmatch(r"to_rgbs\.\d+\.bias", name) else tensor


def _rosinality_filters(levels: int) -> Weights:
    """The filter [1, 3, 3, 1], for twice the size, under every name that a strict reader asks for."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    names = [
        f"{name}.kernel" for j in range(levels - 1) for name in (f"convs.{2 * j}.conv.blur", f"to_rgbs.{j}.upsample")
    ]
    return {name: torch.outer(taps, taps) / 16 for name in names}


# --- NVlabs ---


def _from_nvlabs(path: Path, content: Any) -> StyleGAN2Generator:
    module = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(module, _Call) or module.name != MODULE:
        raise BadInput(f"{path}: there is no G_ema in it; an NVlabs .pkl holds its averaged generator by that name.")
    try:
        modules = dict(_modules(module))
        records = {prefix + name: x for prefix, state in modules.items() for name, x in _own(state)}
    except Exception as error:  # whatever comes of a structure that is not a network's
        raise _damaged(path, error) from error
    if any(re.match(r"synthesis\.(input\.|L\d+_)", name) for name in records):
        raise BadInput(f"{path}: the file holds a StyleGAN3 generator; only StyleGAN2 can be loaded.")
    if any(name.startswith("mapping.embed.") for name in records):
        raise BadInput(f"{path}: the generator is conditioned on classes; only one without classes can be loaded.")
    unusual = [prefix.rstrip(".") for prefix, state in modules.items() if not _usual(prefix, state)]
    if unusual:
        raise BadInput(f"{path}: {unusual[0]} has an activation or learning rate that is not StyleGAN2's own.")
    theirs = {name: _tensor(path, record) for name, record in records.items()}
    names = _nvlabs_names(_count(r"synthesis\.b(\d+)\.", theirs), _count(r"mapping\.fc(\d+)\.", theirs))
    if "mapping.w_avg" in theirs:
        names["w_average"] = "mapping.w_avg"
    return _generator(path, _renamed(path, theirs, names, ignored="resample_filter"))


def _nvlabs_names(levels: int, mapping_layers: int) -> dict[str, str]:
    """Our name -> NVlabs', but for the average of w."""
    names = {"constant": "synthesis.b4.const"}
    for i in range(mapping_layers):
        names |= _pairs(f"mapping.layers.{i}", f"mapping.fc{i}", {"weight": "weight", "bias": "bias"})
    rgb = {"conv.weight": "weight", "bias": "bias"} | {f"conv.affine.{x}": f"affine.{x}" for x in ("weight", "bias")}
    for k in range(2 * levels - 1):
        styled = rgb | {"noise_strength": "noise_strength", "noise": "noise_const"}
        names |= _pairs(f"convs.{k}", f"synthesis.b{4 * 2 ** ((k + 1) // 2)}.conv{(k + 1) % 2}", styled)
    for j in range(levels):
        names |= _pairs(f"to_rgbs.{j}", f"synthesis.b{4 * 2**j}.torgb", rgb)
    return names


class _Call:
    """What a pickle asked to be called, and with what: written down, not called."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name, self.arguments = name, arguments

    def __setstate__(self, state: object) -> None:
        """Drop what the pickle would add (NumPy's types and arrays come so)."""


class _Recorder:
    """Stands in a pickle for one function of the table; a pickle can call it and do nothing else with it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: Any) -> _Call:
        return _Call(self._name, arguments)

    def __setstate__(self, state: object) -> None:
        """Refuse to be changed by the pickle."""
        raise pickle.UnpicklingError(f"{self._name} is not to be changed")


class _Reader(pickle._Unpickler):  # pyright: ignore[reportPrivateUsage]
    """Builds numbers, strings, containers and notes of calls.

    The unpickler in Python and not the one in C, which takes tens of gigabytes at one damaged byte: its memo is an
    array as long as the largest index in the file.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """From the tables, or not at all."""
        name = f"{module}.{name}"
        if name in CONTAINERS:
            return CONTAINERS[name]
        if name in RECORDED:
            return _Recorder(name)
        raise _forbidden(self._path, name)


def _load_pickle(path: Path, file: IO[bytes]) -> Any:
    try:
        return _Reader(path, file).load()
    except BadInput:
        raise
    except Exception as error:  # a damaged pickle raises a dozen kinds
        raise _damaged(path, error) from error


def _modules(module: _Call, prefix: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Prefix of its names -> attributes, for a network's note and those of its parts, each of which has one place."""
    seen = set() if seen is None else seen
    if id(module) in seen:
        raise ValueError(f"{prefix} stands in two places")
    seen.add(id(module))
    state = module.arguments[0]["state"]
    yield prefix, state
    for name, child in state["_modules"].items():
        yield from _modules(child, f"{prefix}{name}.", seen)


def _own(state: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name, note of a tensor: the parameters and buffers that a module itself has."""
    return [(name, x) for kind in ("_parameters", "_buffers") for name, x in state[kind].items() if x is not None]


def _usual(prefix: str, state: dict[str, Any]) -> bool:
    """Whether what the shapes do not show, and files do, is as our generator has it."""
    activation = "linear" if prefix.endswith(".affine.") else "lrelu"
    rate = MAPPING_RATE if prefix.startswith("mapping.fc") else 1
    return state.get("activation", activation) == activation and state.get("bias_gain", rate) == rate


def _tensor(path: Path, record: Any) -> Tensor:
    """The tensor that a note describes."""
    try:
        if record.name == PARAMETER:
            return _tensor(path, record.arguments[0])
        storage, offset, size, stride = record.arguments[:4]
        if record.name != TENSOR or storage.name != STORAGE:
            raise TypeError(f"{record.name} of {storage.name}")
        content = _load_torch(path, io.BytesIO(storage.arguments[0]))
        flat = torch.empty(0, dtype=content.dtype).set_(content)
        return flat.as_strided(size, stride, offset)  # which checks the bounds
    except BadInput:
        raise
    except Exception as error:  # whatever comes of a note that is not a tensor's
        raise _damaged(path, error) from error


# --- both ---


def _load_torch(path: Path, file: IO[bytes]) -> Any:
    """What torch.save wrote, without its code. Namespaces are let in: rosinality's trainer stores its options so."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        raise (_forbidden(path, found[1]) if found else _damaged(path, error)) from error
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise _damaged(path, error) from error


def _forbidden(path: Path, name: str) -> BadInput:
    return BadInput(
        f"{path}: the file asks for {name}, and no code runs for a file; "
        "a rosinality .pt or a StyleGAN2-ADA PyTorch .pkl asks for no such thing."
    )


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(f"{path}: the file is damaged, or no StyleGAN2 checkpoint ({type(error).__name__}).")


def _count(pattern: str, names: dict[str, Any]) -> int:
    """How many numbers stand at the group of the pattern."""
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _pairs(ours: str, theirs: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def _renamed(path: Path, theirs: dict[str, Any], names: dict[str, str], ignored: str) -> Weights:
    """The tensors under our names: all of them there, none left over but those whose name ends in `ignored`."""
    missing = [name for name in names.values() if not _sound(theirs.get(name))]
    if missing:
        raise BadInput(f"{path}: {len(missing)} of the generator's tensors are missing, {missing[0]} for one.")
    surplus = theirs.keys() - set(names.values())
    unknown = sorted(name for name in surplus if not name.endswith(ignored))
    if unknown:
        raise BadInput(f"{path}: {len(unknown)} tensors are not those of a StyleGAN2 generator, {unknown[0]} for one.")
    return {ours: theirs[name].detach() for ours, name in names.items()}


def _sound(x: Any) -> bool:
    """An ordinary tensor of floating-point numbers that are all in the file (none repeated by a stride of zero)."""
    ordinary = isinstance(x, Tensor) and x.layout == torch.strided and x.device.type == "cpu" and x.is_floating_point()
    return ordinary and x.untyped_storage().nbytes() >= x.nbytes


def _generator(path: Path, weights: Weights) -> StyleGAN2Generator:
    """The generator that the shapes describe, with the weights in it."""
    mapping_layers = _count(r"mapping\.layers\.(\d+)", weights)
    if not mapping_layers:
        raise BadInput(f"{path}: the generator has no mapping network.")
    levels = range(_count(r"to_rgbs\.(\d+)", weights))
    if len(levels) > MOST_LEVELS:
        raise BadInput(
            f"{path}: its pictures would have {4 * 2 ** (len(levels) - 1)} pixels a side; 1024 are the most."
        )
    with torch.device("meta"):  # no memory is taken before the shapes are known to agree
        generator = StyleGAN2Generator(
            tuple(_length(path, weights, f"convs.{2 * j}.conv.weight", -4) for j in levels),
            z_dim=_length(path, weights, "mapping.layers.0.weight", -1),
            w_dim=_length(path, weights, "convs.0.conv.affine.weight", -1),
            mapping_layers=mapping_layers,
        )
    shapes = {name: tensor.shape for name, tensor in generator.state_dict().items()}
    fitted = {name: _fitted(path, name, tensor, shapes[name]) for name, tensor in weights.items()}
    _fill(generator, fitted)
    return generator.eval()


def _length(path: Path, weights: Weights, name: str, axis: int) -> int:
    """One number of a shape."""
    shape = weights[name].shape
    if len(shape) < -axis or 0 in shape:
        raise BadInput(f"{path}: {name} has the shape {list(shape)}, which is not that of a StyleGAN2 generator.")
    return shape[axis]


def _fitted(path: Path, name: str, tensor: Tensor, shape: torch.Size) -> Tensor:
    """In float32 and our shape: the formats differ in dimensions of length one only."""
    if [n for n in tensor.shape if n != 1] != [n for n in shape if n != 1]:
        found = list(tensor.shape)
        raise BadInput(f"{path}: {name} has the shape {found}; {list(shape)} would fit the other tensors.")
    return tensor.float().reshape(shape).contiguous()


@torch.no_grad()
def _fill(generator: StyleGAN2Generator, weights: Weights) -> None:
    """Put the weights in, and what a file may lack, the same at every load: noise maps and the average of w."""
    random = torch.Generator().manual_seed(0)
    maps = {f"convs.{k}.noise": x for k, x in enumerate(generator.draw_noise(1, random))}
    generator.load_state_dict(maps | {"w_average": torch.zeros(generator.w_dim)} | weights, assign=True)
    if "w_average" not in weights:
        z = torch.randn(LATENTS, generator.z_dim, generator=random)
        generator.w_average.copy_(generator.mapping(z).mean(0))
