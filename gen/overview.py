"""The commands `gen models` and `gen doctor`: what can be used on this machine."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gen.about import VERSION
from gen.errors import BadSetting
from gen.weights import describe, model_folders, weight_folders

PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "kornia", "av", "pillow", "gradio", "onnxruntime")
ENCODERS = ("nvenc", "qsv", "vaapi", "videotoolbox", "amf")
LEAST_FREE = 2.0
"""GB of a disk; less is a problem for weights, caches and results."""


@dataclass(frozen=True)
class ModelsArguments:
    """List the models that can be used without a download: shipped, in ./weights, or in $GEN_WEIGHTS."""


@dataclass(frozen=True)
class DoctorArguments:
    """Check versions, devices, encoders, weights and disks. The exit status is 1 if something does not work."""


def models(arguments: Sequence[str]) -> int:
    """`gen models`."""
    tyro.cli(ModelsArguments, args=list(arguments), prog="gen models")
    entries = [describe(folder) for folder in model_folders().values()]
    rows = [(e.name, ", ".join(e.weathers), f"{e.megabytes:.1f} MB", e.licence, str(e.folder)) for e in entries]
    titles = ("model", "weathers", "size", "licence of the weights", "folder")
    widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
    for row in (titles, *rows):
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    if not rows:
        print("no model found; set $GEN_WEIGHTS to a folder of model folders.")
    return 0


def doctor(arguments: Sequence[str]) -> int:
    """`gen doctor`: 0, or 1 if something does not work."""
    tyro.cli(DoctorArguments, args=list(arguments), prog="gen doctor")
    problems = 0
    for title, lines in (
        ("version", _versions()),
        ("device", _devices()),
        ("encoder", _encoders()),
        ("picture", _pictures()),
        ("weights", _weights()),
        ("disk", _disks()),
    ):
        for works, line in lines:
            problems += not works
            print(f"{title:<8} {'' if works else 'PROBLEM: '}{line}")
    print(f"\n{problems} problem{'s' * (problems != 1)}" if problems else "\nno problem found")
    return 1 if problems else 0


Finding = tuple[bool, str]
"""Whether something works, and a line that says so."""


def _versions() -> Iterator[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    yield True, f"gen {VERSION}, Python {platform.python_version()}, {platform.platform()}"
    for name in PACKAGES:
        try:
            yield True, f"{name} {version(name)}"
        except PackageNotFoundError:
            yield False, f"{name} is not installed; install gen again."


def _devices() -> Iterator[Finding]:
    import torch

    from gen.provenance import machine

    here = machine(torch.device("cpu"))
    yield True, f"cpu: {here['cpu']}, {here['cores']} cores"
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        yield True, f"cuda:{index}: {found.name}, {found.total_memory / 1e9:.0f} GB"
    if not torch.cuda.is_available():
        # A build for CUDA without a driver, or with one that is too old, falls back to the CPU without an error.
        why = "no GPU, or its driver is missing or too old" if torch.version.cuda else "this torch is a build for CPUs"
        yield True, f"cuda: not available ({why})"


def _encoders() -> Iterator[Finding]:
    from gen.media.video.encoders import SOFTWARE, Encoding, check_encoding

    for codec, software in SOFTWARE.items():
        try:
            check_encoding(Encoding(codec))
            yield True, f"{codec}: {software.name}"
        except BadSetting as error:
            yield False, f"{codec}: {error}"
    working = [name for name in (f"{codec}_{kind}" for codec in SOFTWARE for kind in ENCODERS) if _works(name)]
    yield True, f"hardware: {', '.join(working) or 'none'}"


def _works(encoder: str) -> bool:
    from gen.media.video.encoders import Encoding, check_encoding

    try:
        check_encoding(Encoding(encoder.partition("_")[0], encoder=encoder))
    except BadSetting:
        return False
    return True


def _pictures() -> Iterator[Finding]:
    from gen.media.images import NOT_READ, STILL_SUFFIXES

    yield True, f"read: {' '.join(STILL_SUFFIXES)}"
    for reason in sorted(set(NOT_READ.values())):
        yield True, f"not read: {reason}"


def _weights() -> Iterator[Finding]:
    found = model_folders()
    for folder in dict.fromkeys(folder.resolve() for folder in weight_folders() if folder.is_dir()):
        names = [name for name, path in found.items() if path.resolve().parent == folder]
        yield True, f"{folder}: {', '.join(names) or 'no model'}"
    if not found:
        yield False, "no model found; set $GEN_WEIGHTS to a folder of model folders."


def _disks() -> Iterator[Finding]:
    for title, folder in (("this folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        writable = os.access(folder, os.W_OK)
        yield free > LEAST_FREE and writable, f"{title}: {free:.1f} GB free{'' if writable else ', cannot be written'}"
