"""A pretended CUDA device: tensors say cuda:0 and hold their values in the memory of the CPU.

An operation that mixes devices raises, as on a real one; every wait of the host for the device (a "sync") is counted
with the line of gen that asked for it. Kernels, memory and speed of a real device are not pretended.

Below Python these tensors are of the CPU, because autograd would ask the driver for its streams. So what names a device
is taken out of each call (`_Functions`), and its result is put where it belongs (`Device.run`).
"""

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from gen import tensors

GEN = str(Path(__file__).parents[2] / "gen")
CUDA = torch.device("cuda:0")
WAITING = {
    *("nonzero", "_local_scalar_dense", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim", "bincount"),
    *("_linalg_svd", "_linalg_eigh", "linalg_eig", "_linalg_solve_ex"),
}
"""Operations for whose result, or its shape, the host waits. (The solvers look at their error codes.)"""


class MixedDevices(RuntimeError):
    """An operation got tensors of the device and of the host."""


class Pretended(torch.Tensor):
    """A tensor of the device."""

    held: torch.Tensor
    """Its values."""
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Pretended":
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return current().run(op, args, kwargs or {})

    @property
    def device(self) -> torch.device:
        return CUDA

    @property
    def is_cuda(self) -> bool:
        return True

    @property
    def is_cpu(self) -> bool:
        return False

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Saved files hold tensors of the CPU."""
        return self.held.__reduce_ex__(protocol)

    def numpy(self, **options: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def tolist(self) -> Any:
        current().wait("tolist")
        return self.held.tolist()

    def __format__(self, how: str) -> str:
        current().wait("format")
        return format(self.held.item(), how)


_devices: list["Device"] = []


def current() -> "Device":
    """The device that is pretended now."""
    return _devices[-1]


class Device(TorchDispatchMode):
    """What happens on the pretended device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        """Kind of sync and line of gen -> how often."""
        self.operations: Counter[str] = Counter()
        self.goal: str | None = None
        """Type of the device on which the present call puts its result; None: where its tensors are."""

    def forget(self) -> None:
        """Begin to count anew."""
        self.waits.clear()
        self.operations.clear()

    def wait(self, kind: str) -> None:
        """The host waits for the device."""
        self.waits[f"{kind} at {_line()}"] += 1

    def __torch_dispatch__(self, op: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return self.run(op, args, kwargs or {})

    def run(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation on the values, and wrap the result if it is on the device."""
        name = op.overloadpacket.__name__
        tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        there = any(isinstance(tensor, Pretended) for tensor in tensors)
        if there:
            self.operations[name] += 1
            self._check(name, args, tensors)
            if name in WAITING or (name in ("index", "index_put", "index_put_", "_index_put_impl_") and _by_mask(args)):
                self.wait(name)
        with _disable_current_modes():
            result = op(*pytree.tree_map(_real, args), **pytree.tree_map(_real, kwargs))
        to = there if self.goal is None else self.goal == "cuda"
        if name == "_to_copy" and isinstance(args[0], Pretended) and not to:
            self.wait("copy to the host")
        if not op._schema.returns:
            return None
        written = _written(op, args, kwargs)
        if written is not None:
            return written
        return pytree.tree_map(_wrapped, result) if to else result

    def _check(self, name: str, args: tuple[Any, ...], tensors: list[torch.Tensor]) -> None:
        """Raises `MixedDevices`. Scalars of the host may be mixed in, and a tensor of the device indexed from it."""
        hosts = [tensor for tensor in tensors if not isinstance(tensor, Pretended) and tensor.ndim]
        if not hosts or name in ("_to_copy",):
            return
        if name in ("copy_", "_foreach_copy_"):
            if isinstance(hosts[0], torch.Tensor) and not isinstance(args[0], Pretended):
                self.wait("copy to the host")
            return
        if name in ("index", "index_put", "index_put_") and isinstance(args[0], Pretended):
            self.wait("index from the host")
            return
        shapes = [f"{'cuda' if isinstance(t, Pretended) else 'cpu'} {tuple(t.shape)}" for t in tensors]
        raise MixedDevices(f"{name} at {_line()}: {', '.join(shapes)}")


def _real(value: Any) -> Any:
    return value.held if isinstance(value, Pretended) else value


def _wrapped(value: Any) -> Any:
    return Pretended(value) if isinstance(value, torch.Tensor) and not isinstance(value, Pretended) else value


def _by_mask(args: tuple[Any, ...]) -> bool:
    return any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1] or ())


def _written(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The argument that the operation writes into and returns; None if it makes a new tensor."""
    if isinstance(kwargs.get("out"), torch.Tensor):
        return kwargs["out"]
    if not op._schema.is_mutable or not args:
        return None
    return args[0] if op.overloadpacket.__name__.endswith("_") else None


def _line() -> str:
    """The innermost line of gen that is running."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename.startswith(GEN):
            return f"gen{frame.filename[len(GEN) :]}:{frame.lineno}"
    return "elsewhere"


class _Functions(TorchFunctionMode):
    """Takes the device out of calls, and tells `Device` where their results belong."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.Tensor.cuda, torch.Tensor.cpu):
            return self._moved(args[0], "cuda" if function is torch.Tensor.cuda else "cpu", {})
        if function is torch.Tensor.to:
            return self._to(*args, **kwargs)
        if function is torch.Tensor.pin_memory:
            return args[0]
        if function is torch.Tensor.quantile and isinstance(
            args[0], Pretended
        ):  # made of parts, one of them of the host
            return Pretended(args[0].held.quantile(*args[1:], **kwargs))
        goal = _type(kwargs.pop("device", None))
        if function is torch.Tensor.new_tensor:
            made = torch.tensor(*args[1:], **{"dtype": args[0].dtype} | kwargs)
            return self._moved(made, goal or args[0].device.type, {})
        if goal is None:
            return function(*args, **kwargs)
        kwargs.pop("pin_memory", None)
        if function in (torch.tensor, torch.as_tensor):
            return self._moved(function(*args, **kwargs), goal, {})
        return self._aimed(goal, lambda: function(*args, **kwargs))

    def _to(self, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """`Tensor.to`: (device, dtype), (dtype) or (other)."""
        waits = not kwargs.pop("non_blocking", False)
        goal = _type(kwargs.pop("device", None))
        rest: list[Any] = []
        for value in args:
            if isinstance(value, torch.Tensor):
                goal, rest = value.device.type, [value.dtype]
            elif isinstance(value, torch.dtype):
                rest.append(value)
            elif isinstance(value, (str, torch.device, int)) and not isinstance(value, bool):
                goal = _type(value)
        if isinstance(kwargs.get("other"), torch.Tensor):
            other = kwargs.pop("other")
            goal, rest = other.device.type, [other.dtype]
        if goal in (None, tensor.device.type):
            return torch.Tensor.to(tensor, *rest, **kwargs) if rest or kwargs else tensor
        if rest:
            kwargs["dtype"] = rest[0]
        changes = {name: kwargs[name] for name in ("dtype", "memory_format") if kwargs.get(name)}
        return self._moved(tensor, goal, changes, waits)

    def _moved(self, tensor: torch.Tensor, goal: str, changes: dict[str, Any], waits: bool = True) -> torch.Tensor:
        if goal == tensor.device.type and not changes:
            return tensor
        if waits and goal == "cuda" and tensor.device.type == "cpu":
            self.device.wait("copy to the device")  # torch waits for the whole stream, unless non_blocking
        return self._aimed(goal, lambda: torch.ops.aten._to_copy.default(tensor, **changes))

    def _aimed(self, goal: str, call: Callable[[], Any]) -> Any:
        before, self.device.goal = self.device.goal, goal
        try:
            return call()
        finally:
            self.device.goal = before


def _type(device: Any) -> str | None:
    return None if device is None else torch.device(device).type


def _generator(device: Any = "cpu") -> torch.Generator:
    """Draws on the device use one of the host, as their values are there."""
    return _Generator("cpu" if _type(device) == "cuda" else device)


_Generator = torch.Generator


@contextmanager
def pretended_cuda() -> Iterator[Device]:
    """Within the block there is a CUDA device."""
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: "pretended",
        "is_bf16_supported": lambda *args, **kwargs: True,
        "mem_get_info": lambda device=None: (40 << 30, 80 << 30),
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
        "manual_seed_all": lambda seed: None,
        "get_rng_state_all": lambda: [],
        "set_rng_state_all": lambda states: None,
        "_lazy_init": lambda: None,
    }
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    device = Device()
    _devices.append(device)
    try:
        with ExitStack() as stack:
            for name, answer in answers.items():
                stack.enter_context(patch.object(torch.cuda, name, answer))
            stack.enter_context(patch.object(torch, "Generator", _generator))
            # It asks the driver for its stream, because "CUDA is available".
            health = "_accelerator_graph_capture_health_check"
            stack.enter_context(patch.object(torch.optim.Optimizer, health, lambda self: None))
            stack.enter_context(device)
            stack.enter_context(_Functions(device))
            yield device
    finally:
        _devices.pop()
        tensors._constant.cache_clear()  # it holds tensors of the pretended device
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
