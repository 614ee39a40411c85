"""The command lines of training, exporting and evaluating AU-GAN."""

import dataclasses
import inspect
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gen.augan.networks import AUGANGenerator
from gen.augan.start import SIZES, is_run, network_settings, size_settings
from gen.augan.training import AUGANSettings, AUGANTrainer
from gen.errors import BadSetting
from gen.training.checkpoints import latest_checkpoint
from gen.training.settings import as_record, make_settings, parse_overrides, read_preset

PRESETS = Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """Train AU-GAN on two unpaired folders of frames. The same command again goes on where it stopped."""

    adverse: Path
    """Folder of frames in adverse weather (night, rain, fog), in sub-folders or not."""
    normal: Path
    """Folder of frames in clear daylight."""
    out: Path
    """Run directory, for example runs/night2day."""
    preset: Literal["bdd", "alderley", "pairs", "fast", "small", "tiny"] = "bdd"
    """bdd, alderley: the published sizes, for a GPU; fast: a CPU; small: the published design on a
    CPU; tiny: a first look."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting of AUGANSettings as field=value, for example --set lr=1e-4; may be given several times."""
    strict: bool = False
    """Refuse folders with pictures that cannot be used, instead of leaving them out."""
    dry_run: bool = False
    """Only print the settings, data, parameters, MACs and the time that the run will take."""


def train(arguments: Sequence[str]) -> int:
    """`gen train-augan`."""
    chosen = tyro.cli(TrainArguments, args=list(arguments), prog="gen train-augan")
    preset = read_preset(PRESETS / f"{chosen.preset}.yaml")
    given = {"preset": chosen.preset, "adverse": chosen.adverse, "normal": chosen.normal, "out": chosen.out}
    strict = {"strict": True} if chosen.strict else {}
    settings = choose_settings(preset, given | strict | parse_overrides(chosen.set))
    if settings.out.exists() and not settings.out.is_dir():
        raise BadSetting(f"--out {settings.out}: this is a file; a run needs a folder.")
    trainer = AUGANTrainer(settings)
    if chosen.dry_run:
        print(describe(trainer))
        return 0
    trainer.fit()
    if not trainer.finished:
        print(
            f"stopped at {trainer.images_shown} of {trainer.total_images} images; the same command goes on from here."
        )
        return 130
    print(f"done; export the model with: gen export-augan {settings.out} weights/NAME")
    return 0


def choose_settings(preset: Mapping[str, Any], given: Mapping[str, Any]) -> AUGANSettings:
    """Settings from a preset and from what was `given`; between them, what a model to start from was trained with.

    A run that goes on has its own record for that: the model may be gone, or another. Raises `BadSetting` for a wrong
    setting, and where `given` contradicts the model's networks.
    """
    settings = make_settings(AUGANSettings, preset, given)
    start = settings.start_from
    if start is None or is_run(start):
        return settings
    if latest_checkpoint(settings.out / "checkpoints"):
        return make_settings(AUGANSettings, preset, _recorded_networks(settings.out), given)
    networks = network_settings(start)
    settings = make_settings(AUGANSettings, preset, size_settings(start), networks, given)
    for name, value in as_record(settings).items():
        if name in networks and value != networks[name]:
            raise BadSetting(
                f"{name}: the networks of {start} have {networks[name]!r}, not {value!r}; leave this setting out to "
                f"fine-tune them, or leave start_from out to train others."
            )
    return settings


def _recorded_networks(out: Path) -> dict[str, Any]:
    """What shapes the networks of the run in `out`, and its sizes."""
    shaping = {*inspect.signature(AUGANGenerator).parameters, "transfer", *SIZES} - {"reconstruction"}
    record = json.loads((out / "settings.json").read_text())["settings"]
    return {name: value for name, value in record.items() if name in shaping}


def describe(trainer: AUGANTrainer) -> str:
    """What a run would be: settings, data, parameters, MACs, and the time, from a few timed steps."""
    from gen.augan.cost import count_parameters, training_macs

    s = trainer.settings
    lines = [f"{name}: {value}" for name, value in as_record(s).items()]
    lines += [f"{f.name} frames: {f.summary()}" for f in trainer.frames]
    lines += [f"parameters of {name}: {count_parameters(net):,}" for name, net in trainer.raw.items()]
    lines.append(f"MACs of one training image pair, forward: {training_macs(s) / 1e9:.1f} G")
    trainer.warm_up = 0  # its steps are shorter
    total, pairs = trainer.total_images, min(s.pairs_first, trainer.total_images)
    phases = ((0, pairs, 1), (pairs, total - pairs, max(s.cycle_every, s.reconstruct_every)))
    seconds = sum(count * _image_seconds(trainer, first, steps) for first, count, steps in phases if count)
    lines.append(
        f"{total} images at {total / seconds:.2f} images/s: about {seconds / 3600:.1f} hours on {trainer.device}"
    )
    return "\n".join(lines)


def _image_seconds(trainer: AUGANTrainer, shown: int, steps: int) -> float:
    """Time that an image takes when `shown` have been shown, the mean over so many steps; they change the networks."""
    sample = [[0]] if trainer.device.type == "cpu" else trainer.share_of(0)
    images = sum(len(part) for part in sample) * trainer.accelerator.num_processes
    began = time.perf_counter()
    for step in range(-1, steps):  # the first one prepares (and compiles), the others are timed
        if step == 0:
            began = time.perf_counter()
        trainer.images_shown = shown + max(step, 0) * trainer.settings.batch
        sum(trainer.step(sample).values()).item()  # pyright: ignore[reportAttributeAccessIssue]
    return (time.perf_counter() - began) / (steps * images)


@dataclasses.dataclass(frozen=True)
class ExportArguments:
    """Turn the last checkpoint of a run into a model folder that pipelines load, with the record for its card."""

    run: tyro.conf.Positional[Path]
    """Run directory of `gen train-augan`."""
    out: tyro.conf.Positional[Path]
    """Model folder, for example weights/augan-night2day."""
    half: bool = False
    """Store float16 alone, a third of the size; it is loaded as float32 unless told otherwise."""
    height: int | None = None
    """Rows that the pipeline runs at by default; none: as the model that the run began from, or as trained."""
    weather: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """What the adverse frames showed, for example --weather night --weather "rainy night". The page and --help say it,
    and --model auto chooses by it; none: as the model that the run began from says. Where nobody says, auto never
    chooses this model."""


def export(arguments: Sequence[str]) -> int:
    """`gen export-augan`."""
    from gen.augan.export import export_model

    chosen = tyro.cli(ExportArguments, args=list(arguments), prog="gen export-augan")
    export_model(chosen.run, chosen.out, half=chosen.half, auto_height=chosen.height, weathers=chosen.weather)
    print(f"{chosen.out} written; measure it with: gen evaluate-augan --model {chosen.out} --adverse DIR --normal DIR")
    return 0


def evaluate(arguments: Sequence[str]) -> int:
    """`gen evaluate-augan`."""
    from gen.augan.card import results, write_card
    from gen.augan.evaluation import FILE_NAME, EvaluateSettings, model_folder
    from gen.augan.evaluation import evaluate as measure

    settings = tyro.cli(EvaluateSettings, args=list(arguments), prog="gen evaluate-augan")
    table = results(measure(settings))
    print(table)
    if settings.out is not None:
        (settings.out / "table.md").write_text(table + "\n", encoding="utf-8")
        print(f"\n{settings.out}: {FILE_NAME} and table.md are written, and sheet.jpg with 24 of the frames.")
    elif (model_folder(settings) / "training.json").exists():
        print(f"\ncard: {write_card(model_folder(settings))}")
    return 0
