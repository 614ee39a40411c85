"""The commands `gen adapt`, `gen generate`, `gen directions`, `gen invert` and `gen evaluate-hda`.

torch is imported only after the settings have been checked, so that help texts and usage errors answer at once.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from gen.errors import BadSetting
from gen.hda.default_encoders import default_encoders
from gen.hda.domains import parse_domains
from gen.hda.full import FILE, MODEL, check_full, record_full
from gen.hda.parsing import parse_adaptation, parse_axis, parse_edit, parse_layers, parse_mix, parse_strengths
from gen.hda.settings import (
    SHIPPED,
    DirectionsSettings,
    EvaluateSettings,
    GenerateSettings,
    HDASettings,
    InvertSettings,
)
from gen.media.files import check_out_folder
from gen.seeds import parse_seeds
from gen.training.command import STOPPED, OwnTrainer, own_trainer, parse_arguments
from gen.training.settings import make_settings

S = TypeVar("S", bound=HDASettings)

MOST_SECONDS, MOST_RATE = 3600, 240
"""Of the clips of `gen generate`."""

LEAST_SAMPLES, MOST_SAMPLES = 1000, 1_000_000
"""Of `gen directions`: fewer say little of 512 dimensions."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptArguments:
    """Adapt a generator to a hybrid of domains, each known by a few images. Run the same command again to resume."""

    model: Annotated[str, tyro.conf.arg(aliases=["--source"])] = SHIPPED
    """The source generator: a model name or folder, a rosinality .pt, an NVlabs .pkl (FILE.pkl:3: class 3
    of a generator of several), or the wheel of random-face."""
    domain: Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
    """name=DIR[:alpha], a folder of reference images and its weight; or name=text:WORDS[:alpha], which the encoder clip
    alone reads. May be repeated."""
    out: Path
    """Run directory, for example runs/sketched-sunglasses."""
    encoder: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Frozen encoders, name[@pixels]: efficientnet-lite0, efficientnet-lite0-style, efficientnet-lite0-grid,
    squeezenet, vit-s16, dinov2-vit-s14 (short: dinov2), clip-vit-b32 (short: clip), clip-vit-b16, clip:MODEL,
    dinov2:MODEL, timm:MODEL. May be repeated for an ensemble. Default: clip-vit-b32 where its weights are on this
    machine, else efficientnet-lite0@128 and efficientnet-lite0-style@64; a resumed run keeps its own. `gen doctor` says
    which of them is here."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A setting as field=value, for example --set direction_weight=0.5 lr=1e-3. `--set help` lists all settings."""
    full: bool = False
    """Also write OUT/model, a model folder with source and adaptation, and OUT/model.pt, the adapted generator in
    rosinality's format for other tools."""
    check: bool = False
    """Only report on the references (ranks, distances, angles between domains, warnings); train nothing."""
    trainer: OwnTrainer = None
    """A trainer of your own: a class in a file of yours that extends HDATrainer; see docs/hda.md."""


def adapt(arguments: Sequence[str]) -> int:
    """`gen adapt`."""
    own, kind = own_trainer(arguments, "gen.hda.training:HDATrainer", HDASettings)
    args, overrides = parse_arguments(AdaptArguments, kind, arguments, "gen adapt")
    settings, why = _adapt_settings(kind, args, overrides)
    from gen.hda.check import report
    from gen.hda.export import save_adaptation
    from gen.hda.pipeline import load_source
    from gen.hda.training import HDATrainer
    from gen.output import output_folder
    from gen.stylegan2.networks import StyleGAN2Generator
    from gen.stylegan2.rosinality import save_rosinality
    from gen.training.model_folder import save_model

    pipe = load_source(settings.source)
    trainer = (own or HDATrainer)(settings, pipe.generator)
    trainer.accelerator.print(f"{why}\n\n{report(trainer)}" if why else report(trainer))
    if args.check:
        return 0
    trainer.fit()
    stopped = f"stopped at {trainer.images_shown} of {trainer.total_images} samples; run the same command to resume."
    status = 0 if trainer.finished else STOPPED
    if not trainer.accelerator.is_main_process:
        return status
    if not trainer.images_shown:
        print(stopped)
        return status
    with output_folder(settings.out):
        path = save_adaptation(trainer)
        print(f"{trainer.ending() if trainer.finished else stopped}\nwrote {path}")
        if check_full(settings.out, settings.source, args.full):
            pipe.load_adaptation(path)
            save_model(settings.out / MODEL, pipe.save_pretrained, "model_index.json")
            if isinstance(pipe.generator, StyleGAN2Generator):
                save_rosinality(pipe.generator, settings.out / FILE)
                print(f"wrote {settings.out / MODEL} and {FILE}")
            else:
                print(f"wrote {settings.out / MODEL}, and no {FILE}: its format holds only StyleGAN2 generators")
            record_full(settings.out)
    print(f"\ndraw images with: gen generate --model {settings.source} --adaptation {path} --out out")
    return status


def _adapt_settings(kind: type[S], args: AdaptArguments, overrides: dict[str, Any]) -> tuple[S, str]:
    """The settings, and why they have the encoders that nobody named."""
    given: dict[str, Any] = {"source": args.model, "domains": args.domain, "out": args.out}
    if args.encoder:
        given["encoders"] = args.encoder
    settings, why = make_settings(kind, given, overrides), ""
    check_out_folder(settings.out)
    if not args.encoder and "encoders" not in overrides and kind.encoders == HDASettings.encoders:
        encoders, why = default_encoders(settings.out)
        settings = dataclasses.replace(settings, encoders=encoders)
    check_full(settings.out, settings.source, args.full)  # before hours of training
    parse_domains(settings.domains)  # the trainer parses them again; here a mistake is reported before torch loads
    return settings, why


def generate(arguments: Sequence[str]) -> int:
    """`gen generate`."""
    settings = tyro.cli(GenerateSettings, args=list(arguments), prog="gen generate")
    check_out_folder(settings.out)
    if settings.morph and not settings.adaptation:
        raise BadSetting("--morph needs --adaptation FILE: it goes from the source to the adapted domain.")
    if not (0 < settings.seconds <= MOST_SECONDS and 0 < settings.rate <= MOST_RATE):
        raise BadSetting(f"--seconds must be above 0 and at most {MOST_SECONDS}, and --rate from 1 to {MOST_RATE}.")
    parse_seeds(settings.seeds)
    parse_strengths(settings.strengths)
    _check_edits(settings)
    _check_adaptations(settings.adaptation)
    from gen.hda.drawing import draw_all

    return draw_all(settings)


def _check_edits(settings: GenerateSettings) -> None:
    for text in settings.edit:
        parse_edit(text)
    if settings.mix:
        parse_mix(settings.mix)
    for side in ("rows", "columns"):
        if text := getattr(settings, side):
            parse_axis(side, text)


def directions(arguments: Sequence[str]) -> int:
    """`gen directions`."""
    settings = tyro.cli(DirectionsSettings, args=list(arguments), prog="gen directions")
    check_out_folder(settings.out)
    parse_seeds(settings.seeds)
    for layers in settings.layers:
        parse_layers(layers)
    if not LEAST_SAMPLES <= settings.samples <= MOST_SAMPLES:
        raise BadSetting(f"samples must be from {LEAST_SAMPLES} to {MOST_SAMPLES}, not {settings.samples}; try 20000.")
    if settings.rows < 1:
        raise BadSetting(f"rows must be at least 1, not {settings.rows}; try 12.")
    from gen.hda.finding import find_directions

    find_directions(settings)
    return 0


def invert(arguments: Sequence[str]) -> int:
    """`gen invert`."""
    settings = tyro.cli(InvertSettings, args=list(arguments), prog="gen invert")
    check_out_folder(settings.out)
    _check_adaptations(settings.adaptation)
    if settings.steps < (least := 1 if settings.encoder is None else 0):
        more = "; 0 needs --encoder" if settings.steps == 0 else ""
        raise BadSetting(f"steps must be at least {least}, not {settings.steps}{more}.")
    from gen.hda.inverting import invert_all

    return invert_all(settings)


def _check_adaptations(texts: Sequence[str]) -> None:
    for text in texts:
        parse_adaptation(text)


def evaluate(arguments: Sequence[str]) -> int:
    """`gen evaluate-hda`."""
    settings = tyro.cli(EvaluateSettings, args=list(arguments), prog="gen evaluate-hda")
    check_out_folder(settings.out)
    from gen.hda.evaluation import evaluate_table

    evaluate_table(settings)
    return 0
