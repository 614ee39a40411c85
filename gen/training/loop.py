"""The training loop that every trainer shares: device, precision, schedule, EMA, records, checkpoints, resume."""

import logging
import math
import os
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast, get_args

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, set_seed
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from gen.about import VERSION
from gen.devices import is_out_of_memory, pick_device
from gen.errors import BadInput, BadSetting, TrainingDiverged
from gen.loading import loading
from gen.locks import locked
from gen.media.files import check_out_folder
from gen.output import output_folder
from gen.provenance import after, machine
from gen.training import longer
from gen.training.checkpoints import (
    KEPT,
    CheckpointWriter,
    DamagedCheckpoint,
    check_parts,
    checkpoints,
    latest_checkpoint,
    load_last_good,
)
from gen.training.data_record import check_same_data, with_earlier
from gen.training.ema import WeightAverage
from gen.training.logging import RunLog
from gen.training.optimizers import adam, set_lr
from gen.training.own_code import check_same_trainer, continued_code, own_code, recorded_code
from gen.training.precision import Precision, fastest_precision
from gen.training.schedule import constant_then_linear
from gen.training.settings import (
    EMASettings,
    TimeLimit,
    TrainerSettings,
    as_record,
    check_same_settings,
    read_record,
)
from gen.training.stopping import on_stop_signals

PATIENCE = timedelta(hours=6)
"""How long processes wait for each other before they give up."""
log = logging.getLogger(__name__)

S = TypeVar("S", bound=TrainerSettings)


class _BuiltAlone(ABCMeta):
    """Constructors of trainers build networks, so one runs at a time, and none while a model is loaded."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        with loading:
            return super().__call__(*args, **kwargs)


class Trainer(Generic[S], metaclass=_BuiltAlone):
    """Base of the trainers. To write one:

    1. Settings: a frozen dataclass on `TrainerSettings`, with `ImagesOrEpochs` or a length of its own, and with
       `EMASettings` if weights are averaged.
    2. `__init__`: call this one first, read the data, build the networks, then call `setup`.
    3. `total_images`: the length of the run. `sample_grid`: a picture that shows how far it has come.
    4. `step`: one optimiser step on the samples that it is given. Use `updating`, `synchronised` and `backward`; return
       detached losses, which the loop records and checks.
    5. If needed: `learning_rate`, `make_optimizer`, `after_step`, `check_losses`, `measure`; `data_record` to refuse a
       resume with other data, `extra_state` and `load_extra_state` for what must survive a resume.

    Draw all random numbers from the seed and the number of the sample, not from a running generator. Then a resumed run
    is the same run, on a CPU bit by bit. `fit` trains to the end and resumes by itself; `train_one_step` is one step.
    """

    betas = (0.5, 0.999)
    """Adam's. The default is the usual choice for GANs (Radford et al. 2016)."""
    measure_every = 0
    """Images between two calls of `measure`; 0: never."""
    settings_class: ClassVar[type[TrainerSettings]] = TrainerSettings
    """What `settings` must be; a subclass with settings of its own names them here, for the command line."""

    def __init__(self, settings: S) -> None:
        check_out_folder(settings.out)  # now, and not when the first record is written
        self.settings = settings
        # accelerate keeps its state for the whole process, so an earlier trainer's precision and device would stay in
        # force. A new state, not a cleared one: another trainer may be at work in another thread, as on the web page.
        for state in (AcceleratorState, PartialState) if _alone() else (AcceleratorState,):
            state._shared_state = type(state._shared_state)()  # pyright: ignore
        self.device = _take_device(settings.device)
        self.precision: Precision = _choose_precision(settings, self.device)
        mixed = "bf16" if self.precision == "bf16" else "no"
        # The first process samples, measures and saves alone; the others wait for it longer than NCCL's ten minutes.
        patience = InitProcessGroupKwargs(timeout=PATIENCE)
        self.accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision=mixed, kwargs_handlers=[patience])
        # accelerate numbers the processors of several processes, but torch knows "cpu:0" as no place to load to.
        if self.device.type != "cpu":
            self.device = self.accelerator.device
        self._checkpoints = CheckpointWriter(beside=self.device.type == "cuda")
        self._check_processes()
        if self.accelerator.is_main_process and settings.out.is_dir():
            with locked(settings.out):  # a run that is going on is refused now, and not when all images are decoded
                pass
        set_seed(settings.seed)
        self._code = own_code(type(self))
        """Which code trains the run, with its earlier files; empty for gen's own."""
        self.images_shown = 0
        self.seconds = 0.0
        """Wall-clock time, over all sittings."""
        self.core_seconds = 0.0
        """Processor time of all threads of this process, over all sittings."""
        self._trained_on: tuple[int, dict[str, Any]] | None = None
        """Images shown when the run was resumed, and its hardware until then; None for a new run."""
        self._ended: dict[str, Any] | None = None
        """What the checkpoint of a run that had ended before says of its data and its trainer; else None."""
        self._earlier_data: dict[str, Any] = {}
        """What the checkpoint that the run was resumed from says of its data."""
        self._earlier: list[dict[str, Any]] = []
        """Lengths that the run had before, see gen/training/longer.py."""
        self._start_clocks()
        self.log: RunLog | None = None
        """Open while `fit` runs, in the main process."""
        self.watch: Callable[[], None] = lambda: None
        """Called after every step, for whoever follows the run from outside."""
        self._losses: list[tuple[int, list[str], Tensor]] = []
        """Of each step since the last record: images shown before it, names and values of its losses."""
        self._stop = False
        self._stop_anywhere: Tensor | None = None
        """Of several processes: whether one of them was to stop, a step ago."""
        self._saved_at = time.monotonic()

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

    # What a trainer defines.

    @property
    @abstractmethod
    def total_images(self) -> int:
        """Length of the run: images to show, of each domain."""

    @abstractmethod
    def step(self, parts: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """One optimiser step on these sample numbers, in accumulation parts; returns detached scalar losses by name.

        Values that are not losses are named progress/NAME.
        """

    @abstractmethod
    def sample_grid(self) -> NDArray[np.uint8]:
        """Pictures (H, W, 3) for the record, drawn with the averaged weights if there are any."""

    # What a trainer may define.

    def data_record(self) -> dict[str, Any]:
        """The data, as JSON values for the record; a resumed run must have the same."""
        return {}

    def extra_state(self) -> dict[str, Any]:
        """State for the checkpoint beyond networks, optimisers and EMA: tensors, numbers, strings, containers."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""

    def learning_rate(self, name: str, progress: float) -> float:
        """Learning rate of network `name` when the share `progress` of the run is done, 0..1."""
        return self.settings.lr * constant_then_linear(progress, self.settings.decay)

    def make_optimizer(self, name: str, network: nn.Module) -> Optimizer:
        """The optimiser of network `name`."""
        return adam(network, self.settings.lr, self.betas)

    def after_step(self) -> None:
        """Called in every process after each step, when weights and `images_shown` have changed."""

    def check_losses(self, images: int, losses: Mapping[str, float]) -> None:
        """Raises `TrainingDiverged` for losses that the run cannot recover from.

        Called for each step, before its losses are recorded and before a checkpoint is written. `losses` are means over
        the processes; `images` were shown before the step.
        """
        for name, value in losses.items():
            if not np.isfinite(value):
                raise self.diverged(name, value, images)

    def measure(self) -> dict[str, float]:
        """Figures for the record, measured with the averaged weights, every `measure_every` images."""
        return {}

    @property
    def layout(self) -> torch.memory_format:
        """Memory layout of weights and activations."""
        return torch.channels_last if self.settings.channels_last else torch.contiguous_format

    def compile(self) -> None:
        """Compile the networks in place, so that the names in their state do not change."""
        for network in self.raw.values():
            network.compile(dynamic=False)

    # Set-up.

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

    # Tools for `step`.

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

    def averaged_weights(self) -> AbstractContextManager[None]:
        """Within the block, the averaged network has its EMA weights; without EMA nothing changes."""
        return self.ema.applied() if self.ema else nullcontext()

    def eagerly(self) -> AbstractContextManager[Any]:
        """Within it networks run uncompiled: each new batch size would cost a compilation, and few are allowed.

        Only where this run compiles: other threads' networks are concerned too.
        """
        return torch.compiler.set_stance("force_eager") if self.settings.compile else nullcontext()

    def diverged(self, name: str, value: float, images: int) -> TrainingDiverged:
        """The error for loss `name` of the step that began at `images`."""
        step = images // self.settings.batch
        return TrainingDiverged(
            f"loss {name} became {value} at step {step} ({images} images); {self._kept()}. A smaller lr often helps."
        )

    def _kept(self) -> str:
        """What is on the disk, for the end of an error message."""
        last = self.checkpoint
        return f"the last good checkpoint is {last}" if last else "no checkpoint had been written yet"

    # The loop.

    def fit(self) -> None:
        """Train to the end, or until Ctrl-C or SIGTERM; then save. After such a stop `finished` is False.

        Raises `BadSetting` if another run writes to the run directory, if it has too little room for the checkpoints,
        and if a write fails; the last checkpoint is then complete.
        """
        with self._run_folder(), _fast_arithmetic():
            self.resume()
            if self.accelerator.is_main_process:
                self.log = RunLog(self.settings.out, self.total_images, self.images_shown)
                record = {"version": VERSION, "settings": as_record(self.settings), **self.origin}
                self.log.settings(record | {"hardware": self.hardware if self.finished else self._with_this_sitting()})
            self._start_clocks()
            try:
                with self._readable_memory_errors(), on_stop_signals(self._stop_on_signal):
                    if self.images_shown == 0:
                        self._sample()
                    while not self.finished and not self._told_to_stop():
                        self.train_one_step()
                        self.watch()
                    self._flush()
                    self.save()  # inside, so that a first signal does not interrupt it
                    self._checkpoints.wait()
            finally:
                self._checkpoints.wait()  # after an error too: until then, the run directory is not another's
                self._stop, self._stop_anywhere = False, None  # the next call goes on, as in a notebook after Ctrl-C
                if self.log:
                    self.log.close()
                self.log = None

    @contextmanager
    def _readable_memory_errors(self) -> Generator[None]:
        """Turn a step that does not fit into memory into `BadSetting`.

        The step is not tried again in smaller parts: one of its networks may have been updated already.
        """
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            parts = 2 * self.settings.accumulate
            raise BadSetting(
                f"batch: the memory is too small for {self.settings.batch} images in {self.settings.accumulate} parts; "
                f"set accumulate={parts} for the same result in smaller parts, or choose a smaller batch or crop. "
                f"{self._kept()}."
            ) from error

    def _run_folder(self) -> AbstractContextManager[None]:
        """The run directory, for the main process alone, with room for the checkpoints to come."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        size = self.checkpoint_bytes()
        old = len(checkpoints(self.settings.out / "checkpoints"))
        return output_folder(self.settings.out, size, size * max(1, KEPT + 1 - old))

    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint at least: weights, the two moments of Adam, averaged weights."""
        weights = sum(_bytes(network.state_dict().values()) for network in self.raw.values())
        return weights + 2 * self.gradient_bytes() + (_bytes(self.ema.weights) if self.ema else 0)

    def gradient_bytes(self) -> int:
        """Bytes of the gradients of all weights that are trained."""
        return sum(_bytes(p for p in network.parameters() if p.requires_grad) for network in self.raw.values())

    def train_one_step(self) -> None:
        """One step of the run, with its records and checkpoint when they are due."""
        s = self.settings

        # Learning rate.
        for name, optimizer in self.optimizers.items():
            set_lr(optimizer, self.learning_rate(name, self.share_done))

        # Step.
        losses = self.step(self.share_of(self.images_shown))

        # EMA.
        if self.ema:
            self.ema.update(self.images_shown)

        # Record. Reading a loss waits for the device, so losses are collected here and read at ticks only.
        self._collect(losses)
        self.images_shown += s.batch
        self._count_core_seconds()
        self.after_step()
        if self.log:
            self.log.progress(s.batch)
        if self._tick(s.log_every) or self._tick(s.checkpoint_every):  # losses are checked before each checkpoint
            self._flush()
        if self._tick(s.sample_every):
            self._sample()
        if self.measure_every and self._tick(self.measure_every):
            self._measure()

        # Checkpoint. `fit` writes the last one.
        if self._tick(s.checkpoint_every) and not self.finished and self._time_to_save():
            self.save()

    def stop(self) -> None:
        """End after the present step and save. May be called from `watch` or from another thread."""
        self._stop = True

    @property
    def finished(self) -> bool:
        """Whether the whole run is done."""
        return self.share_done >= 1

    @property
    def share_done(self) -> float:
        """The share of the run that is done: of its processor time if that is limited, else of its images."""
        s = self.settings
        if isinstance(s, TimeLimit) and s.core_minutes is not None:
            return self.core_seconds / (60 * s.core_minutes)
        return self.images_shown / self.total_images

    def share_of(self, start: int) -> list[list[int]]:
        """This process's sample numbers in the step that begins at sample `start`, in accumulation parts.

        The samples of a step are the same for any number of processes and parts.
        """
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        size = self.settings.batch // (processes * self.settings.accumulate)
        firsts = [start + (part * processes + rank) * size for part in range(self.settings.accumulate)]
        return [list(range(first, first + size)) for first in firsts]

    def _tick(self, every: int) -> bool:
        """Whether the last step passed a multiple of `every` images; a batch need not divide it."""
        return self.images_shown // every > (self.images_shown - self.settings.batch) // every

    def _time_to_save(self) -> bool:
        """Whether the last checkpoint is old enough, in the first process: all must agree."""
        old = time.monotonic() - self._saved_at >= self.settings.checkpoint_seconds
        return bool(broadcast_object_list([old])[0])

    def _told_to_stop(self) -> bool:
        """Whether any process was: all must leave at the same step, or the others would wait for ever.

        Of several processes, the answer is that of the step before: by then the device has it, and none waits.
        """
        if self.accelerator.num_processes == 1:
            return self._stop
        before = self._stop_anywhere
        self._stop_anywhere = self.mean_over_processes(torch.full((), float(self._stop), device=self.device))
        return before is not None and before.item() > 0

    def _stop_on_signal(self) -> None:
        self.stop()
        if self.accelerator.is_main_process:
            # Not `print`, which a signal may have interrupted: its buffer cannot be entered twice.
            os.write(2, b"\nstopping after this step; the run will be saved (a second signal stops at once)\n")

    # Records.

    def _collect(self, losses: Mapping[str, Tensor]) -> None:
        """Keep the losses of this step for the next record."""
        if self._losses and self._losses[0][1] != list(losses):
            self._flush()  # another phase of training, with other losses: a line of metrics holds one kind
        self._losses.append((self.images_shown, list(losses), torch.stack(list(losses.values()))))

    def _flush(self) -> None:
        """Read the losses since the last record, check them, and record their means."""
        if not self._losses:
            return
        names = self._losses[0][1]
        table = self.mean_over_processes(torch.stack([v for _, _, v in self._losses])).float().cpu().numpy()
        for (images, _, _), row in zip(self._losses, table.tolist(), strict=True):
            self.check_losses(images, dict(zip(names, row, strict=True)))
        self._losses.clear()
        self._count_seconds()
        if self.log:
            record = {_metric(n): float(v) for n, v in zip(names, table.mean(0), strict=True)}
            record["lr"] = next(iter(self.optimizers.values())).param_groups[0]["lr"]
            record["seconds"] = self.seconds
            record["core_seconds"] = self.core_seconds
            record["images_per_second"] = self.images_shown / max(self.seconds, 1e-9)
            self.log.metrics(self.images_shown, record)

    def _sample(self) -> None:
        if self.log:
            with self.averaged_weights(), self.eagerly():
                self.log.sample(self.images_shown, self.sample_grid())

    def _measure(self) -> None:
        if self.log:
            with self.averaged_weights(), self.eagerly():
                self.log.metrics(self.images_shown, self.measure())

    def _start_clocks(self) -> None:
        self._clock, self._core_clock = time.perf_counter(), time.process_time()

    def _count_seconds(self) -> None:
        """Called after the device was waited for: before that, its queued work would not be counted."""
        now = time.perf_counter()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def _count_core_seconds(self) -> None:
        now = time.process_time()
        self.core_seconds, self._core_clock = self.core_seconds + now - self._core_clock, now

    # Checkpoints.

    def save(self) -> None:
        """Write a checkpoint. Raises `TrainingDiverged` if a weight is not finite: a checkpoint must be usable.

        On a GPU it is written while training goes on; `checkpoint` waits for it.
        """
        networks = {k: v.state_dict() for k, v in self.raw.items()}
        # In every process: weights are the same in all, so that all raise or none does.
        for name, network in networks.items():
            for key, value in network.items():
                if not torch.isfinite(value).all():
                    raise self.diverged(f"(weights {name}.{key})", float("nan"), self.images_shown)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process:
            return
        state = {
            **self.origin,
            "settings": as_record(self.settings),
            "images_shown": self.images_shown,
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "hardware": self.hardware,
            "networks": networks,
            "optimizers": {k: v.state_dict() for k, v in self.optimizers.items()},
            **({"ema": self.ema.state_dict()} if self.ema else {}),
            "extra": self.extra_state(),
        }
        if self.log:
            self.log.sync()
        self._checkpoints.write(self.settings.out / "checkpoints", self.images_shown, state)
        self._saved_at = time.monotonic()

    @property
    def origin(self) -> dict[str, Any]:
        """Data, code and earlier lengths for the record. What changed when the run had ended did not train it."""
        data = with_earlier(self._earlier_data, self.data_record())
        now = {"data": data, **self._code} if self._ended is None else self._ended
        return now | longer.entry(self._earlier)

    @property
    def hardware(self) -> dict[str, Any]:
        """What the run was trained on, over all sittings. One in which nothing was trained does not count."""
        if self._trained_on is None:
            return self._hardware()
        shown, before = self._trained_on
        return before if shown == self.images_shown else self._with_this_sitting()

    def _with_this_sitting(self) -> dict[str, Any]:
        return self._hardware() if self._trained_on is None else after(self._trained_on[1], self._hardware())

    def _hardware(self) -> dict[str, Any]:
        return machine(self.device) | {"processes": self.accelerator.num_processes, "precision": self.precision}

    @property
    def checkpoint(self) -> Path | None:
        """The last checkpoint in the run directory, which `fit` resumes from; None for a new run."""
        self._checkpoints.wait()
        return latest_checkpoint(self.settings.out / "checkpoints")

    def resume(self) -> None:
        """Load the last good checkpoint of the run directory, if there is one.

        Damaged ones are renamed, with a warning. Raises `BadInput` if all are, and `BadSetting` if it belongs to a run
        with other settings or data, or is already longer than this run.
        """
        main, newest = self.accelerator.is_main_process, self.checkpoint
        with self.accelerator.main_process_first():  # it renames damaged checkpoints before the others look
            found = load_last_good(self.settings.out / "checkpoints", self.device, self._check_state, set_aside=main)
        if found is None:
            self._check_new(newest)
            return
        path, state = found
        for name, network in self.raw.items():
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        if self.ema:  # trainers without EMA wrote one in earlier versions; it is not read
            self.ema.load_state_dict(state["ema"])
        self.images_shown, self.seconds = state["images_shown"], state["seconds"]
        if state.get("hardware"):  # the first checkpoints had none
            self._trained_on = (self.images_shown, state["hardware"])
        self.core_seconds = state.get("core_seconds", 0.0)  # the first checkpoints had none
        self.load_extra_state(state["extra"])
        self._earlier = longer.recorded(state).get(longer.KEY, [])
        notes = check_same_trainer(state, self._code)
        self._code = continued_code(state, self._code)
        notes += check_same_data(state["data"], self.data_record(), self.settings.strict)
        self._earlier_data = state["data"]
        if self.finished:
            self._check_end(state["settings"])
        self._ended = {"data": state["data"], **recorded_code(state)} if self.finished else None
        for note in [] if self.finished else notes:
            log.warning(note)
        self.accelerator.print(f"resuming {path} at {self.images_shown} of {self.total_images} images")
        self._report_new_schedule(state["settings"])

    def _check_new(self, newest: Path | None) -> None:
        """Raises `BadInput` if `newest` is there, but cannot be loaded: a person decides whether to begin again."""
        if newest is not None:
            raise BadInput(
                f"{newest.parent}: no checkpoint is whole, so that what the run has learned is lost. The damaged ones "
                "are kept as *.damaged; run the command again to start from the beginning, or choose another output "
                "folder."
            )

    def _check_state(self, path: Path, state: Mapping[str, Any]) -> None:
        """All checks of a checkpoint; before the first change, and before `fit` writes its record over the old one.

        Raises `DamagedCheckpoint` for a state that lacks something, and `BadSetting` for one of another run.
        """
        needed = {"data", "settings", "images_shown", "seconds", "networks", "optimizers", "extra"}
        missing = sorted((needed | ({"ema"} if self.ema else set())) - state.keys())
        if missing:
            raise DamagedCheckpoint(f"{path}: this is not a checkpoint of gen, or it is damaged (no {missing[0]}).")
        check_parts(path, state)
        if state["networks"].keys() != self.raw.keys():
            raise BadSetting(
                f"out: {self.settings.out} holds a run of another kind, with the networks "
                f"{', '.join(state['networks'])} instead of {', '.join(self.raw)}; choose another output folder."
            )
        check_same_trainer(state, self._code)
        check_same_settings(state["settings"], self.settings, self.settings.may_change)
        check_same_data(state["data"], self.data_record(), self.settings.strict)
        self._check_length(state)
        for name, network in self.raw.items():
            shapes = {key: value.shape for key, value in network.state_dict().items()}
            weights = state["networks"][name]
            if not all(isinstance(value, Tensor) for value in weights.values()) or shapes != {
                key: value.shape for key, value in weights.items()
            }:
                raise DamagedCheckpoint(f"{path}: the weights of its network {name} do not fit these settings.")
            if not all(bool(value.isfinite().all()) for value in weights.values()):
                raise DamagedCheckpoint(f"{path}: the weights of its network {name} are not all finite.")

    def _check_length(self, state: Mapping[str, Any]) -> None:
        """The last batch may reach beyond the end, so the end may lie up to a batch before what was shown."""
        s, shown = self.settings, state["images_shown"]
        if isinstance(s, TimeLimit) and s.core_minutes is not None:
            trained = state.get("core_seconds", 0.0) / 60
            if s.core_minutes != state["settings"].get("core_minutes") and trained > s.core_minutes:
                raise BadSetting(
                    f"core_minutes: this run has already been trained for {trained:.3g} core-minutes, more than the "
                    f"{s.core_minutes:g} in the settings; set a larger number, or choose another output folder."
                )
            return
        if self.total_images <= shown - s.batch:
            raise BadSetting(
                f"this run has already been trained on {shown} images, more than the {self.total_images} in the "
                f"settings; set a larger number to resume it, or choose another output folder."
            )

    def _check_end(self, old: Mapping[str, Any]) -> None:
        """A run that has ended is only measured and exported again, and the record must say how it was trained."""
        now = as_record(self.settings)
        changed = {name: old[name] for name in self.settings.of_the_end & old.keys() if old[name] != now.get(name)}
        with self._with_settings(changed):  # with what it had before, too
            ended = self.finished
        for name in sorted(changed) if ended else []:
            raise BadSetting(
                f"{name}: this run has ended, and was trained with {changed[name]}, not {now[name]}; change it back, "
                f"or lengthen the run."
            )

    def _report_new_schedule(self, old: Mapping[str, Any]) -> None:
        """Print and record what a changed length does to the learning rate, which depends on the share that is done."""
        new = as_record(self.settings)
        before = {name: old[name] for name in longer.LENGTHS if name in old and name in new}
        was, now = longer.schedule(new | before), longer.schedule(new)
        name, optimizer = next(iter(self.optimizers.items()))
        last, rate = optimizer.param_groups[0]["lr"], self.learning_rate(name, self.share_done)
        with self._with_settings({name: value for name, value in before.items() if value != new[name]}):
            share, planned = self.share_done, self.learning_rate(name, self.share_done)
        # 9 epochs may be as many images as before; and a run that has ended does not continue.
        if self.finished or (share == self.share_done and was.get("decay") == now.get("decay")):
            return
        self.accelerator.print(
            f"{longer.changes(was, now)}: the learning rate continues at {rate:.3g} (was {last:.3g})"
        )
        if not math.isclose(rate, planned):  # not the last rate: in a warm-up it rises anyway
            changed = {name: value for name, value in was.items() if now.get(name) != value}
            self._earlier.append({"before": changed, "images_shown": self.images_shown, "lr": [last, rate]})

    @contextmanager
    def _with_settings(self, changes: Mapping[str, Any]) -> Generator[None]:
        """Within the block, the settings have these values, as a record has them."""
        settings, self.settings = self.settings, replace(self.settings, **changes)
        try:
            yield
        finally:
            self.settings = settings

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


@contextmanager
def _fast_arithmetic() -> Generator[None]:
    """Settings of torch for a GPU, which are those of the whole process: on a server, others work in it too."""
    backends = torch.backends
    before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
    # TF32: float32 products with 10 bits of mantissa, several times faster on GPUs that have it. cuDNN's search for the
    # fastest kernels (`benchmark`) stays off: it takes half a minute for the first step, and again for each new size of
    # a part of the batch, such as its share of simulated pairs.
    backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32 = before


def _alone() -> bool:
    """Whether this is the only process of the run."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1


def _take_device(name: str) -> torch.device:
    """The device of a setting; CUDA's present device is then that one. Raises `BadSetting`."""
    device = pick_device(name)
    if ":" in name:
        if not _alone():
            raise BadSetting(f"device={name}: each of several processes takes a GPU of its own; set device=auto.")
        torch.cuda.set_device(device)
    return device


def _choose_precision(settings: TrainerSettings, device: torch.device) -> Precision:
    """The precision of the settings; for `auto`, that of the run so far if it was trained on such a machine.

    A measurement that came out the other way would change the arithmetic in the middle of a run.
    """
    if settings.precision != "auto":
        return settings.precision
    before, here = (read_record(settings.out) or {}).get("hardware"), machine(device)
    if isinstance(before, Mapping) and all(before.get(name) == here[name] for name in ("cpu", "gpu")):
        precision = before.get("precision")
        if precision in get_args(Precision):
            return cast(Precision, precision)
    if device.type == "cpu" and not _alone():
        return "fp32"  # each process would measure for itself, and one beside others
    return fastest_precision(device)


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _metric(name: str) -> str:
    """The name of a step's value in the record."""
    return name if name.startswith("progress/") else f"loss/{name}"
