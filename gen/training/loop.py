"""The training loop that every trainer shares: device, precision, schedule, EMA, records, checkpoints, resume."""

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor

from gen.about import VERSION
from gen.errors import BadInput, TrainingDiverged
from gen.locks import locked
from gen.media.files import check_out_folder
from gen.output import output_folder
from gen.provenance import machine
from gen.training import resuming
from gen.training.checkpoints import KEPT, CheckpointWriter, checkpoints, latest_checkpoint, load_last_good
from gen.training.logging import RunLog
from gen.training.memory import readable_memory_errors
from gen.training.networks import S, TrainedNetworks
from gen.training.optimizers import set_lr
from gen.training.own_code import own_code
from gen.training.past import Past
from gen.training.precision import fast_arithmetic
from gen.training.schedule import constant_then_linear
from gen.training.settings import TimeLimit, TrainerSettings, as_record
from gen.training.stopping import on_stop_signals


class Trainer(TrainedNetworks[S]):
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

    measure_every = 0
    """Images between two calls of `measure`; 0: never."""
    settings_class: ClassVar[type[TrainerSettings]] = TrainerSettings
    """What `settings` must be; a subclass with settings of its own names them here, for the command line."""

    def __init__(self, settings: S) -> None:
        check_out_folder(settings.out)  # now, and not when the first record is written
        super().__init__(settings)
        self._checkpoints = CheckpointWriter(beside=self.device.type == "cuda")
        if self.accelerator.is_main_process and settings.out.is_dir():
            with locked(settings.out):  # a run that is going on is refused now, and not when all images are decoded
                pass
        self.past = Past(own_code(type(self)))
        self.images_shown = 0
        self.seconds = 0.0
        """Wall-clock time, over all sittings."""
        self.core_seconds = 0.0
        """Processor time of all threads of this process, over all sittings."""
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

    def after_step(self) -> None:
        """Called in every process after each step, when weights and `images_shown` have changed."""

    def measure(self) -> dict[str, float]:
        """Figures for the record, measured with the averaged weights, every `measure_every` images."""
        return {}

    def check_losses(self, images: int, losses: Mapping[str, float]) -> None:
        """Raises `TrainingDiverged` for losses that the run cannot recover from.

        Called for each step, before its losses are recorded and before a checkpoint is written. `losses` are means over
        the processes; `images` were shown before the step.
        """
        for name, value in losses.items():
            if not np.isfinite(value):
                raise self.diverged(name, value, images)

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
        with self._run_folder(), fast_arithmetic():
            self.resume()
            if self.accelerator.is_main_process:
                self.log = RunLog(self.settings.out, self.total_images, self.images_shown)
                hardware = self.hardware if self.finished else self.past.with_this_sitting(self._here())
                settings = as_record(self.settings)
                self.log.settings({"version": VERSION, "settings": settings, **self.origin, "hardware": hardware})
            self._start_clocks()
            try:
                with readable_memory_errors(self.settings, self._kept), on_stop_signals(self._stop_on_signal):
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

    def _run_folder(self) -> AbstractContextManager[None]:
        """The run directory, for the main process alone, with room for the checkpoints to come."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        size = self.checkpoint_bytes()
        old = len(checkpoints(self.settings.out / "checkpoints"))
        return output_folder(self.settings.out, size, size * max(1, KEPT + 1 - old))

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
        """Data, code and earlier lengths for the record."""
        return self.past.origin(self.data_record())

    @property
    def hardware(self) -> dict[str, Any]:
        """What the run was trained on, over all sittings."""
        return self.past.hardware(self._here(), self.images_shown)

    def _here(self) -> dict[str, Any]:
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
            if newest is None:
                return
            raise BadInput(  # a person decides whether to begin again
                f"{newest.parent}: no checkpoint is whole, so that what the run has learned is lost. The damaged ones "
                "are kept as *.damaged; run the command again to start from the beginning, or choose another output "
                "folder."
            )
        path, state = found
        for name, network in self.raw.items():
            network.load_state_dict(state["networks"][name])
            self.optimizers[name].load_state_dict(state["optimizers"][name])
        if self.ema:  # trainers without EMA wrote one in earlier versions; it is not read
            self.ema.load_state_dict(state["ema"])
        self.images_shown, self.seconds = state["images_shown"], state["seconds"]
        self.core_seconds = state.get("core_seconds", 0.0)  # the first checkpoints had none
        self.load_extra_state(state["extra"])
        resuming.remember(self, state)
        self.accelerator.print(f"resuming {path} at {self.images_shown} of {self.total_images} images")
        resuming.report_new_schedule(self, state["settings"])

    def _check_state(self, path: Path, state: Mapping[str, Any]) -> None:
        resuming.check_state(self, path, state)


def _metric(name: str) -> str:
    """The name of a step's value in the record."""
    return name if name.startswith("progress/") else f"loss/{name}"
