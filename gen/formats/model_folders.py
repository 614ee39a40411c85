"""Load a model folder that diffusers' `save_pretrained` wrote, and trust nothing in it.

Not by diffusers' own `from_pretrained`: it imports modules that the folder names, fills in what is missing and drops
what is too much, and while it loads, it replaces functions of torch for the whole process, so that networks which
another thread builds meanwhile are broken. Here a network is first built without memory, on the meta device; names and
shapes of its weights must be those of the file before anything of that size is allocated.
"""

import importlib
import inspect
import json
import sys
import typing
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gen.errors import BadInput, BadSetting, short
from gen.formats.json_files import LARGEST_CONFIG, read_json
from gen.formats.safetensors_files import read_header, read_safetensors

Network = TypeVar("Network", bound=ModelMixin)
Pipeline = TypeVar("Pipeline", bound=DiffusionPipeline)

INDEX = "model_index.json"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
LARGEST_NUMBER = 1_000_000
"""Integers of a configuration are widths, counts and sides in pixels."""

LONGEST_LIST = 10_000

MOST_CALLS = 20_000
"""Calls of torch that may build one network; a ResNet-101 needs 2,000."""

FILLING = {"normal_", "uniform_", "trunc_normal_", "constant_", "zero_", "fill_", "kaiming_uniform_"}
"""Methods of a tensor and functions of `torch.nn.init`."""

MOVED = {"gen.hda.networks": "gen.stylegan2.networks"}
"""Modules that model_index.json names by an old name, in folders written before they moved."""


def load_pipeline(
    kind: type[Pipeline],
    folder: Path,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    torch_dtype: torch.dtype | None = None,
    **given: Any,
) -> Pipeline:
    """The pipeline of class `kind` that a folder holds, on the CPU, its networks in evaluation mode.

    `dtype` (or `torch_dtype`): what the weights are converted to; None: float32, or what the files of a `variant` have.
    `variant`: "fp16" for the files in half precision, where a network has them. `given`: networks and values that
    replace those of the folder. Raises `BadInput` for a folder that cannot be loaded, `BadSetting` for an unknown name
    in `given`.
    """
    file = folder / INDEX
    index = read_config(file)
    check_class(file, index, kind)
    known = inspect.signature(kind.__init__).parameters.keys() - {"self"}
    if unknown := given.keys() - known:
        raise BadSetting(f"{kind.__name__}.from_pretrained has no option {min(unknown)}.")
    parts = part_names(kind)
    values = {name: value for name, value in index.items() if name in known - parts - given.keys()}
    _check_types(file, kind, values)
    wanted = sorted(parts - given.keys())
    dtype = torch_dtype or dtype or (None if variant else torch.float32)
    networks = {name: _part(folder, name, index.get(name), dtype, variant) for name in wanted}
    with _readable(file):
        return kind(**networks, **values, **given)


def part_names(kind: type[DiffusionPipeline]) -> set[str]:
    """The arguments of a pipeline that are networks: those without a default, and those that may be None."""
    parameters = inspect.signature(kind.__init__).parameters
    required = {name for name, p in parameters.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    optional = set(kind._optional_components)  # pyright: ignore[reportPrivateUsage]  # diffusers has no public name
    return (required | (optional & parameters.keys())) - {"self"}


def load_part(folder: Path, name: str) -> ModelMixin:
    """The network `name` of a model folder, in float32, whatever its class. Raises `BadInput`."""
    network = _part(folder, name, read_config(folder / INDEX).get(name), torch.float32, None)
    if network is None:
        raise BadInput(f"{folder / INDEX}: the model has no {name}.")
    return network


def _part(folder: Path, name: str, entry: Any, dtype: torch.dtype | None, variant: str | None) -> ModelMixin | None:
    """The network that model_index.json names as [module, class]; its files are in the sub-folder `name`."""
    if entry is None or entry == [None, None]:
        return None
    if not isinstance(entry, list) or len(entry) != 2:
        raise BadInput(f"{folder / INDEX}: {name} must be [module, class], not {short(repr(entry))}.")
    return load_network(_find_class(folder / INDEX, name, *entry), folder / name, dtype, variant)


def _find_class(index: Path, name: str, module: Any, class_name: Any) -> type[ModelMixin]:
    """The class of a network. Only modules of gen are imported; others must be loaded already, by a plugin."""
    found = None
    if isinstance(module, str) and isinstance(class_name, str):
        module = MOVED.get(module, module)
        found = getattr(_own_module(module) or sys.modules.get(module), class_name, None)
    if not (isinstance(found, type) and issubclass(found, ModelMixin) and found.__module__ == module):
        raise BadInput(
            f"{index}: {name} is of the class {short(f'{module}.{class_name}')}, which is not one of gen's networks; "
            "networks of your own are loaded with $GEN_PLUGINS."
        )
    return found


def _own_module(name: str) -> Any:
    if not all(part.isidentifier() for part in name.split(".")) or not name.startswith("gen."):
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def load_network(
    kind: type[Network], folder: Path, dtype: torch.dtype | None = torch.float32, variant: str | None = None
) -> Network:
    """The network of class `kind` that a folder holds, on the CPU, in evaluation mode. See `load_pipeline`.

    `dtype=None`: that of the file's weights.
    """
    config = read_config(folder / CONFIG)
    check_class(folder / CONFIG, config, kind)
    build = builder(kind, folder / CONFIG, config)
    with torch.device("meta"):
        network = build()
    files = weight_files(folder, variant)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    check_shapes(folder / CONFIG, shapes, files)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_safetensors(file)[0]
    check_kinds(folder, network.state_dict(), tensors)
    dtype = dtype or next((x.dtype for x in tensors.values() if x.is_floating_point()), torch.float32)
    tensors = {name: x.to(dtype) if x.is_floating_point() else x for name, x in tensors.items()}
    network.load_state_dict(tensors, assign=True)
    if _incomplete(network):  # constants that no file holds, such as the mean of ImageNet
        with torch.random.fork_rng(devices=[]):
            network = build()
            nn.Module.to(network, dtype)  # diffusers types its own `to` for no argument
        network.load_state_dict(tensors)
    return network.eval()


def builder(kind: type[Network], file: Path, config: Mapping[str, Any]) -> Callable[[], Network]:
    """A function that builds the network which a configuration describes. It raises `BadInput`, naming `file`."""
    known = inspect.signature(kind.__init__).parameters
    values = {name: value for name, value in config.items() if name in known}
    _check_types(file, kind, values)

    def build() -> Network:
        # The budget may end the constructor within a `no_grad` block, which then cannot turn gradients on again.
        with torch.set_grad_enabled(torch.is_grad_enabled()), _readable(file), _Budget():
            return kind(**values)

    return build


def read_config(file: Path) -> dict[str, Any]:
    """A configuration in JSON, with values of ordinary size. Raises `BadInput`."""
    config = read_json(file, LARGEST_CONFIG)
    for name, value in config.items():
        if not _ordinary(value):
            raise BadInput(f"{file}: {short(name)} is {short(repr(value))}, which no model of gen can have.")
    return config


def _ordinary(value: Any, depth: int = 3) -> bool:
    if isinstance(value, int):
        return abs(value) <= LARGEST_NUMBER
    if isinstance(value, str):
        return len(value) <= LONGEST_LIST
    if isinstance(value, list | dict):
        items = value.values() if isinstance(value, dict) else value
        return depth > 0 and len(value) <= LONGEST_LIST and all(_ordinary(item, depth - 1) for item in items)
    return True


def check_class(file: Path, config: Mapping[str, Any], kind: type[Any]) -> None:
    """Raises `BadInput` if a configuration was written by another class; old ones do not say."""
    name = config.get("_class_name", kind.__name__)
    if name != kind.__name__:
        raise BadInput(f"{file}: this is a {short(str(name))}, where a {kind.__name__} is needed.")


def _check_types(file: Path, kind: type[Any], values: Mapping[str, Any]) -> None:
    """Raises `BadInput` for values that are not of the type that the class's `__init__` declares."""
    try:
        types = typing.get_type_hints(kind.__init__)
    except (NameError, TypeError):  # a plugin's, imported for type checkers only
        return
    for name, value in values.items():
        try:
            TypeAdapter(types.get(name, Any)).validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise BadInput(f"{file}: {name} is {short(repr(value))}, which is wrong ({problem}).") from error
        except PydanticUserError:  # a type of a plugin that pydantic does not know
            continue


class _Budget(TorchFunctionMode):
    """Limits the calls of torch that this thread makes: a configuration can ask for a million layers.

    What fills a tensor that has no memory is left out, because torch takes milliseconds for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left = MOST_CALLS

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it has too many layers")
        if getattr(func, "__name__", "") in FILLING and args and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


@contextmanager
def _readable(file: Path) -> Generator[None]:
    """Turns whatever a constructor raises for impossible values into `BadInput`."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"{file}: no model can be built from these values ({short(reason, 200)}).") from error


def _incomplete(network: nn.Module) -> bool:
    """Whether a tensor of the network is still without memory."""
    loose = (value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor))
    return any(x.is_meta for tensors in (network.parameters(), network.buffers(), loose) for x in tensors)


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """The safetensors files of a network, one or several parts. Raises `BadInput` if there are none.

    Of a `variant` if there are such files, otherwise those without.
    """
    stem = WEIGHTS.removesuffix(".safetensors")
    for kind in [variant, None] if variant else [None]:
        file = folder / (f"{stem}.{kind}.safetensors" if kind else WEIGHTS)
        parts = folder / (f"{WEIGHTS}.index.{kind}.json" if kind else f"{WEIGHTS}.index.json")
        if file.is_file():
            return [file]
        if parts.is_file():
            return _parts(parts)
    raise BadInput(f"{folder}: no {WEIGHTS} here.")


def _parts(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise BadInput(f"{index}: weight_map must say which file holds each tensor.")
    files = sorted(set(names.values()))
    for name in files:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise BadInput(f"{index}: names {short(name)}, but there is no such file beside it.")
    return [index.parent / name for name in files]


def check_shapes(config: Path, wanted: Mapping[str, tuple[int, ...]], files: list[Path]) -> None:
    """Raises `BadInput`, which names the tensor and the file, unless the files hold just these tensors."""
    found = {name: (shape, file) for file in files for name, shape in read_header(file).shapes.items()}
    for name, (shape, file) in found.items():
        if name not in wanted:
            raise BadInput(f"{file}: the tensor {short(name)} is too much for the network that {config} describes.")
        if shape != wanted[name]:
            raise BadInput(
                f"{file}: {name} has the shape {list(shape)}, but the network that {config} describes needs "
                f"{list(wanted[name])}."
            )
    if missing := sorted(wanted.keys() - found.keys()):
        raise BadInput(f"{files[0]}: {len(missing)} tensors are missing, for example {missing[0]}.")


def check_kinds(folder: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises `BadInput` for integers where the network has fractions, or fractions where it has integers.

    The precision may differ. Integers cannot be trained, and a network cannot calculate with them.
    """
    for name, tensor in found.items():
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise BadInput(
                f"{folder}: {name} is of the type {str(tensor.dtype).removeprefix('torch.')}, but the network needs "
                f"{str(wanted[name].dtype).removeprefix('torch.')}."
            )
