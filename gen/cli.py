"""The list of `gen` commands. A command's module is imported only when it runs."""

import atexit
import gc
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Sequence

from gen.about import VERSION
from gen.devices import is_out_of_memory
from gen.disk import why_not_opened, why_not_written
from gen.errors import GenError, unknown
from gen.interrupts import SIGNALS
from gen.plugins import load_plugins

# Python looks for cycles among all objects when it ends; after torch and gradio that takes seconds, and frees nothing
# that the end of the process does not free.
atexit.register(gc.freeze)

COMMANDS: dict[str, tuple[str, str]] = {
    "translate": ("gen.translation.commands:translate", "translate a frame, a folder tree or a clip"),
    "export": ("gen.translation.commands:export", "write a model as ONNX or OpenVINO files, for other programs"),
    "train-augan": ("gen.augan.commands:train", "train AU-GAN on two folders of frames"),
    "compare-augan": ("gen.augan.commands:compare", "train recipes at equal cost and compare them in one table"),
    "export-augan": ("gen.augan.commands:export", "turn an AU-GAN run into a model folder"),
    "evaluate-augan": (
        "gen.augan.commands:evaluate",
        "measure a model on held-out frames and write its card",
    ),
    "train-weather": (
        "gen.translation.commands:train_weather",
        "train the weather classifier that --model auto uses",
    ),
    "train-invention": ("gen.augan.commands:train_invention", "train a map of the parts that a model invents"),
    "export-invention": ("gen.augan.commands:export_invention", "add a trained invention map to its model's folder"),
    "evaluate-invention": (
        "gen.augan.commands:evaluate_invention",
        "measure an invention map on rendered and real frames",
    ),
    "train-cyclegan": ("gen.cyclegan.commands:train", "train the plain baseline: CycleGAN or CUT"),
    "export-cyclegan": ("gen.cyclegan.commands:export", "turn a CycleGAN or CUT run into a model folder"),
    "convert": ("gen.cyclegan.commands:convert", "read generators (.pth) of the CycleGAN and CUT repositories"),
    "simulate-weather": ("gen.augan.commands:simulate", "make training pairs from clear-day frames"),
    "train-stylegan2": ("gen.stylegan2.commands:train_stylegan2", "train a StyleGAN2 generator on a folder of images"),
    "export-stylegan2": (
        "gen.stylegan2.commands:export_stylegan2",
        "turn a StyleGAN2 run into a model folder",
    ),
    "train-mobilestylegan": (
        "gen.mobilestylegan.commands:train",
        "teach a small generator for CPUs to draw what a large one draws",
    ),
    "export-mobilestylegan": (
        "gen.mobilestylegan.commands:export",
        "turn a MobileStyleGAN run into a model folder",
    ),
    "adapt": ("gen.hda.commands:adapt", "adapt a generator to a hybrid of few-shot domains"),
    "generate": ("gen.hda.commands:generate", "generate images, grids and clips"),
    "directions": ("gen.hda.commands:directions", "find directions that change faces, and give them names"),
    "invert": ("gen.hda.commands:invert", "invert photos into a generator and show them adapted"),
    "evaluate-hda": ("gen.hda.commands:evaluate", "compare adaptation methods in a table"),
    "render-street": ("gen.smd.commands:render_street", "render dash-cam frames of synthetic streets, in pairs"),
    "render-smd": ("gen.smd.commands:render_smd", "render game scenes in the styles of game consoles"),
    "train-precursor": (
        "gen.smos.commands:train_precursor",
        "train a scene classifier as a reference for other networks",
    ),
    "train-smos": ("gen.smos.commands:train_smos", "train with each domain left out in turn (domain generalisation)"),
    "analyse-smos": ("gen.smos.commands:analyse_smos", "measure how far apart domains are in trained networks"),
    "app": ("gen.web.commands:main", "translate, adapt, render and measure in a browser"),
    "measure-shift": ("gen.shift.commands:measure_shift", "measure how far apart image domains are"),
    "measure-detector": (
        "gen.detector.commands:measure_detector",
        "tell whether translations help or hurt an object detector",
    ),
    "models": ("gen.overview.commands:models", "list the models that are here"),
    "completion": ("gen.completion.commands:completion", "let the shell complete gen's commands and options"),
    "doctor": ("gen.overview.commands:doctor", "check versions, devices, encoders, weights and disks"),
}


def usage() -> str:
    """The text of `gen --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}} {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: gen COMMAND ...",
            "",
            "commands:",
            *lines,
            "",
            "`gen COMMAND --help` shows the options of a command.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: success, 1: error, 2: usage error, 130: stopped by Ctrl-C or SIGTERM, 141: broken pipe.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        # As Ctrl-C, so that temporary files are removed and records written.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):  # a file name that is no UTF-8 must not end a run when it is printed
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            status = run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # as in `gen ... | head`
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # so that Python's flush at exit does not fail too
        return 141
    if status == 130 and arguments is None and in_main_thread:
        # The process ends now. Another signal would end its threads while they compute, which ends it badly.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    return status


def run(arguments: Sequence[str]) -> int:
    """Like `main`, without the handling of a broken pipe."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(VERSION)
        return 0
    if arguments[0] not in COMMANDS:
        print(f"gen: {unknown('command', arguments[0], COMMANDS)}", file=sys.stderr)
        return 2
    module, function = COMMANDS[arguments[0]][0].split(":")
    try:
        load_plugins()
        return int(getattr(importlib.import_module(module), function)(arguments[1:]) or 0)
    except GenError as error:
        print(f"gen {arguments[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"\ngen {arguments[0]}: stopped{f': {error}' if error.args else ''}.", file=sys.stderr)
        return 130
    except Exception as error:
        if reason := why_not_written(error):
            message = f"the output cannot be written, because {reason}."
        elif reason := why_not_opened(error):
            message = f"{reason}."
        elif is_out_of_memory(error):
            message = "there is too little memory; choose smaller frames or a smaller batch, or end other programs."
        else:
            raise
        print(f"gen {arguments[0]}: {message}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
