"""The training loop that every trainer shares: devices, precision, schedule, EMA, records, resume.

A trainer gives its networks, one optimiser step, and a sample grid; this loop does the rest. Everything random is a
function of the seed and of the number of the image, so that a resumed run is the same run, bit for bit on a CPU.
"""

import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from gen.errors import BadSetting, TrainingDiverged
from gen.provenance import machine
from gen.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from gen.training.logging import RunLog
from gen.training.precision import Precision, fastest_precision
from gen.training.settings import TrainerSettings, as_record, check_same_run, check_same_settings

S = TypeVar("S", bound=TrainerSettings)


class Trainer(ABC, Generic[S]):
    """Base of the trainers. Subclasses build networks in `__init__`, then call `setup`."""

    betas = (0.5, 0.999)
    """Adam's."""

    def __init__(self, settings: S) -> None:
        self.settings = settings
        AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage]  # another trainer of this program may have had another precision
        on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
        self.precision: Precision = (
            fastest_precision(torch.device("cpu" if on_cpu else "cuda"))
            if settings.precision == "auto"
            else settings.precision
        )
        self.accelerator = Accelerator(
            cpu=settings.device == "cpu", mixed_precision="bf16" if self.precision == "bf16" else "no"
        )
        self.device: torch.device = self.accelerator.device
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True  # crops have one size, so the search for the best kernel pays
        set_seed(settings.seed)
        self.images_shown = 0
        self.seconds = 0.0
        self.core_seconds = 0.0
        """Processor time of all threads of this process, over all sittings."""
        self._clock, self._core_clock = time.perf_counter(), time.process_time()
        self._losses: list[tuple[int, list[str], Tensor]] = []
        self.watch: Callable[[], None] = lambda: None
        """Called after every step, by whoever follows the run from outside."""
        self._stop = False
        if settings.core_minutes is not None and self.accelerator.num_processes > 1:
            raise BadSetting("core_minutes: it counts one process's time; set images or epochs to train in several.")
        parts = self.accelerator.num_processes * settings.accumulate
        if settings.batch % parts:
            raise BadSetting(
                f"batch: {settings.batch} cannot be shared out evenly to {self.accelerator.num_processes} processes "
                f"and {settings.accumulate} accumulation steps; it must be a multiple of {parts}."
            )

    # What a subclass gives.

    @property
    @abstractmethod
    def total_images(self) -> int:
        """Images to show a domain before the run ends."""

    @abstractmethod
    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One optimiser step on these samples, in so many accumulation parts; returns detached scalar losses."""

    @abstractmethod
    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures (H, W, 3) of the fixed sample frames through the averaged weights."""

    def data_record(self) -> dict[str, Any]:
        """What the run learns from, for the record; a resumed run must find the same."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """State beyond networks, optimisers and EMA."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `extra_state` gave."""

    def learning_rate(self, name: str, progress: float) -> float:
        """Of network `name` at `progress` in [0, 1]."""
        return self.settings.lr * constant_then_linear(progress, self.settings.decay)

    def after_step(self) -> None:
        """Whatever else belongs to a step; in every process, after the weights have moved."""

    @property
    def layout(self) -> torch.memory_format:
        """Of weights and activations in memory."""
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format

    measure_every = 0
    """Images between two calls of `measure`; 0: never."""

    def measure(self) -> dict[str, float]:
        """Figures of the averaged weights, for the record."""
        return {}

    # Set-up.

    def setup(self, networks: Mapping[str, nn.Module], averaged: str) -> None:
        """Move the networks to the device, wrap them, make an Adam for each; `averaged` names the one with an EMA."""
        for network in networks.values():
            network.to(self.device, memory_format=self.layout)  # pyright: ignore[reportCallIssue]
        self.raw = dict(networks)
        if self.settings.compile:
            self.compile()
        self.wrapped: dict[str, nn.Module] = {k: self.accelerator.prepare(v) for k, v in networks.items()}
        self.optimizers: dict[str, Adam] = {k: self.make_optimizer(k, v) for k, v in networks.items()}
        self.averaged = networks[averaged]
        self.ema = EMAModel(self.averaged.parameters(), decay=self.ema_decay(), foreach=True)

    def make_optimizer(self, name: str, network: nn.Module) -> Adam:
        """Fused Adam, which runs the whole update in one kernel, on CUDA and on the CPU."""
        learning = [p for p in network.parameters() if p.requires_grad]
        return Adam(learning, lr=self.settings.lr, betas=self.betas, fused=True)

    def ema_decay(self) -> float:
        """What is kept of the averaged weights at this step."""
        s = self.settings
        half_life = s.ema_half_life if s.ema_ramp is None else min(s.ema_half_life, s.ema_ramp * self.images_shown)
        return 0.5 ** (s.batch / half_life) if half_life else 0.0

    def compile(self) -> None:
        """Compile in place, so that names in the state do not change."""
        for network in self.raw.values():
            network.compile(dynamic=False)

    # Tools for a subclass's step.

    def average_gradients(self, name: str) -> None:
        """Mean of network `name`'s gradients over the processes, for steps that use the plain module."""
        if self.accelerator.num_processes > 1:
            for parameter in self.raw[name].parameters():
                if parameter.grad is not None:
                    parameter.grad = self.mean_over_processes(parameter.grad)

    @contextmanager
    def updating(self, name: str) -> Generator[None]:
        """Gradients of network `name` start at zero, and its optimiser steps at the end of the block."""
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        yield
        optimizer.step()

    def backward(self, losses: Mapping[str, Tensor]) -> None:
        """Add the gradients of the sum of `losses` of one of the step's `accumulate` parts."""
        total = torch.stack(list(losses.values())).sum() / self.settings.accumulate
        self.accelerator.backward(total)

    def synchronised(self, name: str, part: int) -> Any:
        """The context for a part's forward and backward: processes exchange gradients only in the last part."""
        last = part == self.settings.accumulate - 1
        return nullcontext() if last else self.accelerator.no_sync(self.wrapped[name])

    @contextmanager
    def averaged_weights(self) -> Generator[None]:
        """Within the block, the averaged network has its EMA weights."""
        self.ema.store(self.averaged.parameters())
        self.ema.copy_to(self.averaged.parameters())
        try:
            yield
        finally:
            self.ema.restore(self.averaged.parameters())

    # The loop.

    def fit(self) -> None:
        """Train to the end, or until Ctrl-C: then save, and leave with `finished` False."""
        self.resume()
        self.log: RunLog | None = None
        if self.accelerator.is_main_process:
            self.log = RunLog(self.settings.out, self.total_images, self.images_shown)
            self.log.settings({"settings": as_record(self.settings), "data": self.data_record()})
        self._clock, self._core_clock = time.perf_counter(), time.process_time()
        if self.images_shown == 0:
            self._sample()
        try:
            with self._stop_on_signals():
                while not self.finished and not self._told_to_stop():
                    self._train_one_step()
                    self.watch()
            self._flush()
            self.save()
        finally:
            if self.log:
                self.log.close()

    def stop(self) -> None:
        """End after the step that is under way; the state is saved. From `watch`, or another thread."""
        self._stop = True

    @property
    def finished(self) -> bool:
        """All images have been shown, or the core-minutes are spent."""
        return self.share_done >= 1

    @property
    def share_done(self) -> float:
        """The part of the run that is done, 0..1."""
        if self.settings.core_minutes is not None:
            return self.core_seconds / (60 * self.settings.core_minutes)
        return self.images_shown / self.total_images

    def _train_one_step(self) -> None:
        before, batch = self.images_shown, self.settings.batch
        for name, optimizer in self.optimizers.items():
            set_lr(optimizer, self.learning_rate(name, self.share_done))
        losses = self.step(self.share_of(before))
        self.ema.decay = self.ema.min_decay = self.ema_decay()  # both: diffusers has a schedule of its own between
        self.ema.step(self.averaged.parameters())
        if self._losses and self._losses[0][1] != list(losses):
            self._flush()  # another phase, with other losses: a line of metrics holds one kind
        self._losses.append((before, list(losses), torch.stack(list(losses.values()))))
        self.images_shown = before + batch
        now = time.process_time()
        self.core_seconds, self._core_clock = self.core_seconds + now - self._core_clock, now
        self.after_step()
        if self.log:
            self.log.progress(batch)
        # Reading a loss waits for the device, so it is done at ticks only. A check always precedes a checkpoint.
        if self._tick(self.settings.log_every) or self._tick(self.settings.checkpoint_every):
            self._flush()
        if self._tick(self.settings.sample_every):
            self._sample()
        if self.log and self.measure_every and self._tick(self.measure_every):
            with self.averaged_weights():
                self.log.metrics(self.images_shown, self.measure())
        if self._tick(self.settings.checkpoint_every) and not self.finished:
            self.save()

    def _tick(self, every: int) -> bool:
        return self.images_shown // every > (self.images_shown - self.settings.batch) // every

    def share_of(self, start: int) -> list[list[int]]:
        """This process's samples of the step that begins at sample `start`, in accumulation parts."""
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.settings.batch // (processes * self.settings.accumulate)
        firsts = [start + (part * processes + rank) * size for part in range(self.settings.accumulate)]
        return [list(range(first, first + size)) for first in firsts]

    def _flush(self) -> None:
        """Read the losses since the last tick, stop on NaN or Inf, record their means."""
        if not self._losses:
            return
        names = self._losses[0][1]
        table = self.mean_over_processes(torch.stack([v for _, _, v in self._losses])).float().cpu().numpy()
        for (images, _, _), row in zip(self._losses, table, strict=True):
            for name, value in zip(names, row, strict=True):
                if not np.isfinite(value):
                    raise TrainingDiverged(self._divergence(name, float(value), images))
        self._losses.clear()
        now = time.perf_counter()  # after the device has been waited for
        self.seconds, self._clock = self.seconds + now - self._clock, now
        if self.log:
            record = {_metric(n): float(v) for n, v in zip(names, table.mean(0), strict=True)}
            record["lr"] = self.optimizers[next(iter(self.optimizers))].param_groups[0]["lr"]
            record["seconds"] = self.seconds
            record["core_seconds"] = self.core_seconds
            record["images_per_second"] = self.images_shown / max(self.seconds, 1e-9)
            self.log.metrics(self.images_shown, record)

    def _told_to_stop(self) -> bool:
        """Whether any process was: all must leave at the same step, or the others would wait for ever."""
        if self.accelerator.num_processes == 1:
            return self._stop
        return self.mean_over_processes(torch.tensor(float(self._stop), device=self.device)).item() > 0

    def mean_over_processes(self, values: Tensor) -> Tensor:
        """Of the same shape in each."""
        if self.accelerator.num_processes == 1:
            return values
        return cast(Tensor, self.accelerator.reduce(values, reduction="mean"))

    def _divergence(self, name: str, value: float, images: int) -> str:
        step = images // self.settings.batch
        last = self.checkpoint
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been written yet"
        return f"loss {name} became {value} at step {step} ({images} images); {kept}. A smaller lr often helps."

    def _sample(self) -> None:
        if self.log:
            with self.averaged_weights():
                self.log.sample(self.images_shown, self.sample_grid())

    # State.

    def save(self) -> None:
        """Write a checkpoint, if the weights are finite: they are the same in all processes, and so all stop."""
        networks = {k: v.state_dict() for k, v in self.raw.items()}
        for name, network in networks.items():
            for key, value in network.items():
                if not torch.isfinite(value).all():
                    what = f"(weights {name}.{key})"
                    raise TrainingDiverged(self._divergence(what, float("nan"), self.images_shown))
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        state = {
            "data": self.data_record(),
            "settings": as_record(self.settings),
            "images_shown": self.images_shown,
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "hardware": machine(self.device)
            | {"processes": self.accelerator.num_processes, "precision": self.precision},
            "networks": networks,
            "optimizers": {k: v.state_dict() for k, v in self.optimizers.items()},
            "ema": self.ema.state_dict(),
            "extra": self.extra_state(),
        }
        save_checkpoint(self.settings.out / "checkpoints", self.images_shown, state)

    @property
    def checkpoint(self) -> Path | None:
        """What this run goes on from, if it was begun before."""
        return latest_checkpoint(self.settings.out / "checkpoints")

    def resume(self) -> None:
        """Go on from the last checkpoint of the run directory, if there is one."""
        path = self.checkpoint
        if path is None:
            return
        state = load_checkpoint(path, self.device)
        check_same_settings(state["settings"], self.settings, self.settings.may_change)
        check_same_run(state["data"], self.data_record())
        self._check_length(state["images_shown"])
        for name, network in self.raw.items():
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        self.ema.load_state_dict(state["ema"])
        self.images_shown, self.seconds = state["images_shown"], state["seconds"]
        self.core_seconds = state.get("core_seconds", 0.0)
        self.load_extra_state(state["extra"])
        self.accelerator.print(f"going on from {path} at {self.images_shown} of {self.total_images} images")
        self._tell_new_schedule(state["settings"])

    def _check_length(self, shown: int) -> None:
        """A last batch may reach beyond the end, so the end may lie up to a batch before what was shown."""
        if self.settings.core_minutes is None and self.total_images <= shown - self.settings.batch:
            raise BadSetting(
                f"images, epochs: they ask for {self.total_images} images, and the run in this folder has been shown "
                f"{shown}; ask for more to go on with it, or take another --out for a new run."
            )

    def _tell_new_schedule(self, old: Mapping[str, Any]) -> None:
        """The learning rate is a function of the share of the run that is done, so a longer run takes it up again."""
        new = as_record(self.settings)
        names = [n for n in ("images", "epochs", "core_minutes", "decay") if n in old and old[n] != new[n]]
        if names:
            name, optimizer = next(iter(self.optimizers.items()))
            last, now = optimizer.param_groups[0]["lr"], self.learning_rate(name, self.share_done)
            changes = ", ".join(f"{n} {new[n]} instead of {old[n]}" for n in names)
            self.accelerator.print(f"{changes}: the learning rate goes on at {now:.3g}; it was {last:.3g} last")

    def begin_with(self, run: Path) -> None:
        """Take the networks of another run's last checkpoint, with nothing of its optimisers or its schedule.

        Raises `BadSetting` where there is none, or its networks have other shapes.
        """
        path = latest_checkpoint(run / "checkpoints")
        if path is None:
            raise BadSetting(f"start_from={run}: no checkpoint of a run lies there.")
        networks = load_checkpoint(path, self.device)["networks"]
        for name, network in self.raw.items():
            try:
                network.load_state_dict(networks[name])
            except (KeyError, RuntimeError) as error:
                raise BadSetting(f"start_from={run}: its networks do not fit these settings ({name}).") from error
        self.average_from_here()

    def average_from_here(self) -> None:
        """Begin the averaged weights with the network's own, after these were loaded."""
        self.ema = EMAModel(self.averaged.parameters(), decay=self.ema.decay, foreach=True)

    @contextmanager
    def _stop_on_signals(self) -> Generator[None]:
        """Ctrl-C and a polite kill end the run after the step that is under way; a second Ctrl-C ends it at once.

        In a thread of someone else's program, as under Ray, signals are left to that program.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.accelerator.print("\nstopping after this step; the state will be saved")

        old = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def _metric(name: str) -> str:
    """A step's `progress/...` is no loss, and keeps its name; all else goes under loss/."""
    return name if name.startswith("progress/") else f"loss/{name}"


def constant_then_linear(progress: float, decay: float = 0.5) -> float:
    """Share of the full learning rate at `progress` in [0, 1]: 1, and in the last share `decay` linearly to 0."""
    return min(1.0, (1.0 - progress) / decay) if decay else 1.0


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr
