"""Settings of `gen train-weather`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gen.device_names import Device
from gen.licences import LicenceArgument

Repeated = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclasses.dataclass(frozen=True)
class WeatherSettings:
    """Train the weather classifier that `gen translate --model auto` chooses models by."""

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT")]
    """Model folder, for example weights/weather; a notes.md in it is copied into the card."""
    train: Repeated
    """WEATHER=FOLDER of training frames, for example --train night=driving/train/night; may be repeated."""
    cross: Repeated = ()
    """The same, from folders of few drives: groups of similar frames are also held out in turn (cross-validation)."""
    test: Repeated = ()
    """WEATHER=FOLDER of test frames. It need not be a trained weather: the card shows how it is classified."""
    labels: Path | None = None
    """CSV file with the columns file (relative to the CSV) and weather: labels of single frames in day folders, clear
    or a trained weather. Frames with another label are left out, and frames labelled twilight in every folder."""
    decay: float = 0.03
    """Weight decay: factor of the L2 penalty in the loss."""
    device: Device = "auto"
    """auto: the GPU if there is one."""
    weights_license: LicenceArgument = "unstated"
