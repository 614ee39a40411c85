"""Turn a run directory into a model folder: averaged weights, samples, distances, model card."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gen.devices import pick_device
from gen.mobilestylegan.card import write_card
from gen.mobilestylegan.networks import MobileStyleGANGenerator
from gen.mobilestylegan.settings import MobileStyleGANSettings
from gen.mobilestylegan.training import make_student
from gen.output import output_folder
from gen.stylegan2.export import measure, training_record, write_model
from gen.training.averaged import load_averaged, load_last_state
from gen.training.own_code import settings_of_run


def export_model(
    run: Path,
    out: Path,
    half: bool,
    data: Path | None,
    count: int,
    features: Sequence[str],
    weights_license: str,
    notes: Sequence[str] = (),
    device: str = "auto",
) -> None:
    """As the export of a StyleGAN2 run; the last comparison with the teacher is in the record too.

    Raises `BadInput` where `run` has no checkpoint.
    """
    state = load_last_state(run, "train-mobilestylegan")
    settings, more = settings_of_run(MobileStyleGANSettings, state)
    record = training_record(settings, state, more, weights_license, notes)
    record |= {
        "settings": record["settings"] | {"teacher": settings.teacher.name},
        "compared": state["extra"]["compared"],
    }
    how = {"count": count, "features": features, "device": pick_device(device)}
    measured = partial(measure, data=data, **how) if data else None
    with output_folder(out):
        write_model(averaged_generator(settings, state), out, half, record, measured)
        write_card(out)


def averaged_generator(settings: MobileStyleGANSettings, state: dict[str, Any]) -> MobileStyleGANGenerator:
    """The generator with its averaged weights."""
    shape = state["extra"]["mapping"]
    generator = make_student(settings, shape["z_dim"], shape["w_dim"], shape["layers"])
    generator.load_state_dict(state["networks"]["generator"])
    load_averaged(generator, state)
    return generator.eval().requires_grad_(False)
