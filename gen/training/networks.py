"""Networks that are trained: on a device, in a precision, with an optimiser each, by one process or several."""

import os
from abc import ABCMeta
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs, set_seed
from torch import Tensor, nn
from torch.optim import Optimizer

from gen.devices import pick_device
from gen.errors import BadSetting
from gen.loading import loading
from gen.training.checkpoints import load_last_good
from gen.training.ema import WeightAverage
from gen.training.optimizers import adam
from gen.training.precision import Precision, precision_of
from gen.training.settings import EMASettings, TimeLimit, TrainerSettings

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other before they give up."""

S = TypeVar("S", bound=TrainerSettings)


class _BuiltAlone(ABCMeta):
    """Constructors of trainers build networks, so one runs at a time, and none while a model is loaded."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        with loading:
            return super().__call__(*args, **kwargs)


class TrainedNetworks(Generic[S], metaclass=_BuiltAlone):
    """Base of `Trainer`: what the step of a trainer is written with."""

    betas = (0.5, 0.999)
    """Adam's. The default is the usual choice for GANs (Radford et al. 2016)."""

    def __init__(self, settings: S) -> None:
        self.settings = settings
        # accelerate keeps its state for the whole process, so an earlier trainer's precision and device would stay in
        # force. A new state, not a cleared one: another trainer may be at work in another thread, as on the web page.
        for state in (AcceleratorState, PartialState) if alone() else (AcceleratorState,):
            state._shared_state = type(state._shared_state)()  # pyright: ignore
        self.device = _take_device(settings.device)
        self.precision: Precision = precision_of(settings, self.device, alone())
        mixed = "bf16" if self.precision == "bf16" else "no"
        # The first process samples, measures and saves alone; the others wait for it longer than NCCL's ten minutes.
        patience = InitProcessGroupKwargs(timeout=PATIENCE)
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision=mixed, kwargs_handlers=[patience])
        # accelerate numbers the processors of several processes, but torch knows "cpu:0" as no place to load to.
        if self.device.type != "cpu":
            self.device = self.accelerator.device
        self._check_processes()
        set_seed(settings.seed)

    def _check_processes(self) -> None:
        s, processes = self.settings, self.accelerator.num_processes
        if isinstance(s, TimeLimit) and s.core_minutes is not None and processes > 1:
            raise BadSetting("core_minutes: only one process can be timed; to train in several, set images instead.")
        parts = processes * s.accumulate
        if s.batch % parts:
            raise BadSetting(
                f"batch: {s.batch} cannot be split evenly over {processes} processes times {s.accumulate} accumulation "
                f"steps; it must be a multiple of {parts}."
            )

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of weights and activations."""
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format

    def compile(self) -> None:
        """Compile the networks in place, so that the names in their state do not change."""
        for network in self.raw.values():
            network.compile(dynamic=False)

    def make_optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """The optimiser of network `name`."""
        return adam(network, self.settings.lr, self.betas)

    def setup(self, networks: Mapping[str, nn.Module], averaged: str | None = None) -> None:
        """Move the networks to the device, wrap them for several processes, and make an optimiser for each.

        `averaged`: name of the network whose weights are averaged; the settings must then inherit `EMASettings`.
        """
        for network in networks.values():
            network.to(self.device, memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        self.raw = dict(networks)
        if self.settings.compile:
            self.compile()
        self.wrapped: dict[str, nn.Module] = {k: self.accelerator.prepare(v) for k, v in networks.items()}
        # After the move, because an optimiser holds the parameters themselves.
        self.optimizers: dict[str, Optimizer] = {k: self.make_optimizer(k, v) for k, v in networks.items()}
        self.ema: WeightAverage | None = None
        if averaged is not None:
            if not isinstance(self.settings, EMASettings):
                raise TypeError(f"{type(self.settings).__name__} must inherit EMASettings to average {averaged}")
            self.ema = WeightAverage(networks[averaged], self.settings, self.settings.batch)

    @contextmanager
    def updating(self, name: str) -> Generator[None]:
        """Gradients of network `name` start at zero, and its optimiser steps at the end of the block."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        yield
        optimizer.step()

    def synchronised(self, name: str, part: int) -> AbstractContextManager[Any]:
        """Context for forward and backward of accumulation part `part` through `wrapped[name]`.

        Processes exchange gradients in the last part only, when they are complete.
        """
        last = part == self.settings.accumulate - 1
        return nullcontext() if last else self.accelerator.no_sync(self.wrapped[name])

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradients of the sum of `losses` of one accumulation part."""
        # Divided, because gradients of the parts are added up, and a step's loss is the mean over its parts.
        total = torch.stack(list(losses.values())).sum() / self.settings.accumulate
        self.accelerator.backward(total)

    def average_gradients(self, name: str) -> None:
        """Average the gradients of network `name` over the processes, for steps that call `raw` and not `wrapped`."""
        if self.accelerator.num_processes > 1:
            gradients = [p.grad for p in self.raw[name].parameters() if p.grad is not None]
            if not gradients:
                return
            mean = self.mean_over_processes(torch.cat([gradient.flatten() for gradient in gradients]))  # in one message
            for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def mean_over_processes(self, values: Tensor) -> Tensor:
        """The mean over the processes of `values`, whose shape must be the same in each."""
        if self.accelerator.num_processes == 1:
            return values
        return cast(Tensor, self.accelerator.reduce(values, reduction="mean"))

    def share_of(self, start: int) -> list[list[int]]:
        """This process's sample numbers in the step that begins at sample `start`, in accumulation parts.

        The samples of a step are the same for any number of processes and parts.
        """
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.settings.batch // (processes * self.settings.accumulate)
        firsts = [start + (part * processes + rank) * size for part in range(self.settings.accumulate)]
        return [list(range(first, first + size)) for first in firsts]

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Within the block, the averaged network has its EMA weights; without EMA nothing changes."""
        return self.ema.applied() if self.ema else nullcontext()

    def eagerly(self) -> AbstractContextManager[Any]:
        """Within it networks run uncompiled: each new batch size would cost a compilation, and few are allowed.

        Only where this run compiles: other threads' networks are concerned too.
        """
        return torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext()

    def begin_with(self, run: Path) -> None:
        """Load the networks of another run's last checkpoint, but not its optimisers, EMA or schedule.

        Raises `BadSetting` if there is no checkpoint, or its networks have other shapes.
        """
        found = load_last_good(run / "checkpoints", self.device)
        if found is None:
            raise BadSetting(f"start_from={run}: no checkpoint there; give a run directory that has one.")
        networks = found.state.get("networks", {})
        for name, network in self.raw.items():
            try:
                network.load_state_dict(networks[name])
            except (KeyError, RuntimeError) as error:
                raise BadSetting(f"start_from={run}: its network {name!r} does not fit these settings.") from error
        self.average_from_here()

    def average_from_here(self) -> None:
        """Start the averaged weights at the network's present ones; call it after loading weights."""
        if self.ema:
            self.ema.restart()

    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint at least: weights, the two moments of Adam, averaged weights."""
        weights = sum(_bytes(network.state_dict().values()) for network in self.raw.values())
        return weights + 2 * self.gradient_bytes() + (_bytes(self.ema.weights) if self.ema else 0)

    def gradient_bytes(self) -> int:
        """Bytes of the gradients of all weights that are trained."""
        return sum(_bytes(p for p in network.parameters() if p.requires_grad) for network in self.raw.values())


def alone() -> bool:
    """Whether this is the only process of the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _take_device(name: str) -> torch.device:
    """The device of a setting; CUDA's present device is then that one. Raises `BadSetting`."""
    device = pick_device(name)
    if ":" in name:
        if not alone():
            raise BadSetting(f"device={name}: each of several processes takes a GPU of its own; set device=auto.")
        torch.cuda.set_device(device)
    return device


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
