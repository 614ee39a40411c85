"""The command lines of domain generalisation: a precursor, a table of leave-one-out runs, an analysis of features.

Heavy modules are imported after the arguments are parsed, so that `--help` and usage errors answer at once.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from gen.checked import checked
from gen.errors import BadSetting, short
from gen.media.files import check_out_folder
from gen.output import output_folder
from gen.seeds import check_seed, parse_seeds
from gen.smos.algorithms import registry
from gen.smos.arguments import AnalyseArguments, PrecursorArguments, TableArguments
from gen.smos.benchmarks import find_benchmark, targets_of
from gen.smos.methods import Method, in_time, parse_method, usual_name
from gen.smos.settings import SMOSSettings
from gen.training.command import STOPPED, parse_arguments

if TYPE_CHECKING:
    from gen.smos.training import SMOSTrainer


def train_smos(arguments: Sequence[str]) -> int:
    """`gen train-smos`: 0 the table is complete, 130 stopped by Ctrl-C."""
    args, overrides = parse_arguments(TableArguments, SMOSSettings, arguments, "gen train-smos")
    dataset, folders = find_benchmark(args.data, overrides.get("dataset", "auto"))
    targets_of(args.target, dataset, list(folders))
    methods, seeds = _methods(args, overrides), _seeds(args.seeds)
    from accelerate import PartialState

    from gen.devices import pick_device
    from gen.smos.table import collect, plan, run_cells, with_precursor

    settings = SMOSSettings.from_preset(args.preset, **{"data": args.data, "out": args.out} | overrides)
    methods = [with_precursor(method, settings.backbone) for method in methods]
    cells = plan(settings, methods, args.target, seeds)
    # Without `cpu`, accelerate takes each of several processes on processors for a run of its own.
    main = PartialState(cpu=pick_device(settings.device).type == "cpu").is_main_process
    with output_folder(settings.out) if main else nullcontext():
        try:
            complete = run_cells(settings, cells, args.engine, args.gpus)
        finally:  # after Ctrl-C or an error too: the cells that are done make a table
            if main:
                collect(settings, cells)
                print((settings.out / "table.md").read_text(encoding="utf-8"))
    return 0 if complete else STOPPED


def _methods(args: TableArguments, overrides: Mapping[str, Any]) -> list[Method]:
    if args.method and args.precursor:
        raise BadSetting("--precursor belongs to --algorithm; with --method give NAME=ALGORITHM:PRECURSOR.")
    if args.core_minutes is not None:
        checked(SMOSSettings, "core_minutes", args.core_minutes)
        if overrides.get("core_minutes") is not None:
            raise BadSetting("--core-minutes adds rows, --set core_minutes=... is the length of all rows; give one.")
    registry.check_name(args.algorithm)
    alone = Method(usual_name(args.algorithm), args.algorithm, args.precursor)
    methods = [parse_method(text) for text in args.method] or [alone]
    return methods + [in_time(method, args.core_minutes) for method in methods if args.core_minutes is not None]


def _seeds(text: str) -> list[int]:
    seeds = parse_seeds(text)
    for seed in seeds:
        check_seed(seed)
    if len(set(seeds)) < len(seeds):
        raise BadSetting(f"--seeds {short(text)}: a seed is named twice; leave one out, for example 0-2.")
    return seeds


def train_precursor(arguments: Sequence[str]) -> int:
    """`gen train-precursor`: 0 done, 130 stopped by Ctrl-C."""
    args, overrides = parse_arguments(PrecursorArguments, SMOSSettings, arguments, "gen train-precursor")
    check_out_folder(args.out)
    if args.leave_out and (args.data == "scenes" or args.val is None):
        raise BadSetting(
            "--leave-out needs two folders: --data from `gen render-smd`, --val from `gen render-smd --split val`."
        )
    if args.export and args.data != "scenes" and args.val is None:
        raise BadSetting("--export needs --val: the model card must report held-out accuracy.")
    from gen.smos.export import export_precursor

    each = args.leave_out == "each"
    styles = list(find_benchmark(Path(args.data), "any")[1]) if each else [args.leave_out]
    accuracy: dict[str, float] = {}
    for style in filter(None, styles):
        trainer = _train(args, overrides, args.out / f"without-{style}", style)
        if not trainer.finished:
            return STOPPED
        accuracy[style] = float(trainer.report()["rules"][trainer.rule]["accuracy"] or 0)
        print(f"{style} left out: {accuracy[style]:.1%} accuracy on its unseen levels")
    if args.leave_out and not each:
        return 0
    trainer = _train(args, overrides, args.out)
    if not trainer.finished:
        return STOPPED
    trainer.report()
    if args.export and trainer.accelerator.is_main_process:
        with output_folder(args.export):
            export_precursor(trainer, args.export, accuracy, args.weights_license)
        print(f"wrote {args.export}")
    return 0


def _train(args: PrecursorArguments, overrides: dict[str, Any], out: Path, target: str | None = None) -> "SMOSTrainer":
    """Train one network in `out`, without the style `target`."""
    from gen.smos.training import SMOSTrainer

    given: dict[str, Any] = {
        "data": args.data,
        "val": args.val,
        "dataset": "any",
        "swad": False,  # a precursor is published as it is at its last step
        "out": out,
        "target": target,
        "cache": args.out / "cache",
    }
    # Ours trains the norms: with frozen ones, random features are scaled as they happen to be, and hardly learn.
    scratch = {"weights": "none"} | ({} if args.preset == "smos" else {"frozen_norms": False}) if args.scratch else {}
    trainer = SMOSTrainer(SMOSSettings.from_preset(f"precursor-{args.preset}", **given | scratch | overrides))
    trainer.fit()
    return trainer


def analyse_smos(arguments: Sequence[str]) -> int:
    """`gen analyse-smos`."""
    args = tyro.cli(AnalyseArguments, args=list(arguments), prog="gen analyse-smos")
    from gen.smos.analysis import analyse

    analyse(args.table, args.data, args.out, args.images, baseline=args.baseline)
    print((args.out / "analysis.md").read_text())
    return 0
