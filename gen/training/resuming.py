"""What must fit for a run to be resumed from a checkpoint, and what a changed length does to its learning rate."""

import logging
import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from gen.errors import BadSetting
from gen.training import longer
from gen.training.checkpoints import DamagedCheckpoint, check_parts
from gen.training.data_record import check_same_data
from gen.training.ema import WeightAverage
from gen.training.own_code import check_same_trainer, continued_code, recorded_code
from gen.training.past import Past
from gen.training.settings import TimeLimit, as_record, check_same_settings

log = logging.getLogger(__name__)


class Resumable(Protocol):
    """What of a trainer is looked at."""

    settings: Any  # TrainerSettings
    accelerator: Accelerator
    raw: dict[str, nn.Module]
    optimizers: dict[str, Optimizer]
    ema: WeightAverage | None
    past: Past
    images_shown: int

    @property
    def total_images(self) -> int:
        """Length of the run."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the whole run is done."""
        ...

    @property
    def share_done(self) -> float:
        """The share of the run that is done."""
        ...

    def data_record(self) -> dict[str, Any]:
        """The data, for the record."""
        ...

    def learning_rate(self, name: str, progress: float) -> float:
        """Learning rate of a network when a share of the run is done."""
        ...


def check_state(trainer: Resumable, path: Path, state: Mapping[str, Any]) -> None:
    """All checks of a checkpoint; before the first change, and before `fit` writes its record over the old one.

    Raises `DamagedCheckpoint` for a state that lacks something, and `BadSetting` for one of another run.
    """
    settings = trainer.settings
    needed = {"data", "settings", "images_shown", "seconds", "networks", "optimizers", "extra"}
    missing = sorted((needed | ({"ema"} if trainer.ema else set())) - state.keys())
    if missing:
        raise DamagedCheckpoint(f"{path}: this is not a checkpoint of gen, or it is damaged (no {missing[0]}).")
    check_parts(path, state)
    if state["networks"].keys() != trainer.raw.keys():
        raise BadSetting(
            f"out: {settings.out} holds a run of another kind, with the networks "
            f"{', '.join(state['networks'])} instead of {', '.join(trainer.raw)}; choose another output folder."
        )
    check_same_trainer(state, trainer.past.code)
    check_same_settings(state["settings"], settings, settings.may_change)
    check_same_data(state["data"], trainer.data_record(), settings.strict)
    _check_length(trainer, state)
    for name, network in trainer.raw.items():
        shapes = {key: value.shape for key, value in network.state_dict().items()}
        weights = state["networks"][name]
        if not all(isinstance(value, Tensor) for value in weights.values()) or shapes != {
            key: value.shape for key, value in weights.items()
        }:
            raise DamagedCheckpoint(f"{path}: the weights of its network {name} do not fit these settings.")
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise DamagedCheckpoint(f"{path}: the weights of its network {name} are not all finite.")


def _check_length(trainer: Resumable, state: Mapping[str, Any]) -> None:
    """The last batch may reach beyond the end, so the end may lie up to a batch before what was shown."""
    s, shown = trainer.settings, state["images_shown"]
    if isinstance(s, TimeLimit) and s.core_minutes is not None:
        trained = state.get("core_seconds", 0.0) / 60
        if s.core_minutes != state["settings"].get("core_minutes") and trained > s.core_minutes:
            raise BadSetting(
                f"core_minutes: this run has already been trained for {trained:.3g} core-minutes, more than the "
                f"{s.core_minutes:g} in the settings; set a larger number, or choose another output folder."
            )
        return
    if trainer.total_images <= shown - trainer.settings.batch:
        raise BadSetting(
            f"this run has already been trained on {shown} images, more than the {trainer.total_images} in the "
            f"settings; set a larger number to resume it, or choose another output folder."
        )


def remember(trainer: Resumable, state: Mapping[str, Any]) -> None:
    """Take over what a checkpoint, whose weights are loaded, says of the run's past. Raises `BadSetting`.

    Warns of other data or code that is allowed, unless the run has ended. Prints what a changed length changes.
    """
    past, settings = trainer.past, trainer.settings
    if state.get("hardware"):  # the first checkpoints had none
        past.trained_on = (trainer.images_shown, state["hardware"])
    past.lengths = longer.recorded(state).get(longer.KEY, [])
    notes = check_same_trainer(state, past.code)
    past.code = continued_code(state, past.code)
    notes += check_same_data(state["data"], trainer.data_record(), settings.strict)
    past.data = state["data"]
    if trainer.finished:
        _check_end(trainer, state["settings"])
    past.ended = {"data": state["data"], **recorded_code(state)} if trainer.finished else None
    for note in [] if trainer.finished else notes:
        log.warning(note)


def _check_end(trainer: Resumable, old: Mapping[str, Any]) -> None:
    """A run that has ended is only measured and exported again, and the record must say how it was trained."""
    now = as_record(trainer.settings)
    changed = {name: old[name] for name in trainer.settings.of_the_end & old.keys() if old[name] != now.get(name)}
    with _with_settings(trainer, changed):  # with what it had before, too
        ended = trainer.finished
    for name in sorted(changed) if ended else []:
        raise BadSetting(
            f"{name}: this run has ended, and was trained with {changed[name]}, not {now[name]}; change it back, "
            f"or lengthen the run."
        )


def report_new_schedule(trainer: Resumable, old: Mapping[str, Any]) -> None:
    """Print and record what a changed length does to the learning rate, which depends on the share that is done.

    `old`: the settings in the checkpoint.
    """
    new = as_record(trainer.settings)
    before = {name: old[name] for name in longer.LENGTHS if name in old and name in new}
    was, now = longer.schedule(new | before), longer.schedule(new)
    name, optimizer = next(iter(trainer.optimizers.items()))
    last, rate = optimizer.param_groups[0]["lr"], trainer.learning_rate(name, trainer.share_done)
    with _with_settings(trainer, {name: value for name, value in before.items() if value != new[name]}):
        share, planned = trainer.share_done, trainer.learning_rate(name, trainer.share_done)
    # 9 epochs may be as many images as before; and a run that has ended does not continue.
    if trainer.finished or (share == trainer.share_done and was.get("decay") == now.get("decay")):
        return
    trainer.accelerator.print(f"{longer.changes(was, now)}: the learning rate continues at {rate:.3g} (was {last:.3g})")
    if not math.isclose(rate, planned):  # not the last rate: in a warm-up it rises anyway
        changed = {name: value for name, value in was.items() if now.get(name) != value}
        trainer.past.lengths.append({"before": changed, "images_shown": trainer.images_shown, "lr": [last, rate]})


@contextmanager
def _with_settings(trainer: Resumable, changes: Mapping[str, Any]) -> Generator[None]:
    """Within the block, the trainer's settings have these values, as a record has them."""
    settings, trainer.settings = trainer.settings, replace(trainer.settings, **changes)
    try:
        yield
    finally:
        trainer.settings = settings
