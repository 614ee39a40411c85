"""The checks of `gen doctor`, each a generator of findings."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from gen.about import VERSION
from gen.errors import BadSetting
from gen.weights import CLIP, NONE_FOUND, clip_folder, model_folders, weight_folders

PACKAGES = ("torch", "torchvision", "diffusers", "accelerate", "kornia", "av", "pillow", "gradio", "onnxruntime")
LEAST_FREE = 2.0
"""GB of a disk; less is a problem for weights, caches and results."""


Finding = tuple[bool, str]
"""Whether something works, and a line that says so."""


def versions() -> Iterator[Finding]:
    """This package, Python, the system, and the packages that matter."""
    from importlib.metadata import PackageNotFoundError, version

    yield True, f"gen {VERSION}, Python {platform.python_version()}, {platform.platform()}"
    for name in PACKAGES:
        try:
            yield True, f"{name} {version(name)}"
        except PackageNotFoundError:
            yield False, f"{name} is not installed; install gen again."


def devices() -> Iterator[Finding]:
    """The processor, and the GPUs that torch can use."""
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


def encoders() -> Iterator[Finding]:
    """The software encoders, each tried on a few frames, and hardware encoders that work."""
    from gen.media.video.encoders import HARDWARE, SOFTWARE, CodecName, Encoding, check_encoding

    for codec in get_args(CodecName):
        try:
            check_encoding(Encoding(codec))
            yield True, f"{codec}: {SOFTWARE[codec].name}"
        except BadSetting as error:
            yield False, f"{codec}: {error}"
    working = [name for name in (f"{codec}_{kind}" for codec in SOFTWARE for kind in HARDWARE) if _works(name)]
    yield True, f"hardware: {', '.join(working) or 'none'}"


def _works(encoder: str) -> bool:
    from gen.media.video.encoders import Encoding, check_encoding

    try:
        check_encoding(Encoding(encoder=encoder))
    except BadSetting:
        return False
    return True


def networks() -> Iterator[Finding]:
    """What `gen adapt` sees pictures with, unless it is told."""
    folder = clip_folder()
    lite = f"CLIP, {CLIP}, is not on this machine; `gen adapt` uses EfficientNet-Lite0"
    yield True, f"CLIP, {CLIP}, in {folder}; `gen adapt` uses it" if folder else lite


def pictures() -> Iterator[Finding]:
    """Suffixes of pictures that are read here, and what another package would add."""
    from gen.media.images import NOT_READ, STILL_SUFFIXES

    yield True, f"read: {' '.join(STILL_SUFFIXES)}"
    for reason in sorted(set(NOT_READ.values())):
        yield True, f"not read: {reason}"


def weights() -> Iterator[Finding]:
    """The folders in which models are looked for."""
    found = model_folders()
    for folder in dict.fromkeys(folder.resolve() for folder in weight_folders() if folder.is_dir()):
        names = [name for name, path in found.items() if path.resolve().parent == folder]
        none = (
            "no model, or only such as a folder before it has under the same names"
            if any(folder.iterdir())
            else "no model"
        )
        yield True, f"{folder}: {', '.join(names) or none}"
    if (named := os.environ.get("GEN_WEIGHTS")) and not Path(named).is_dir():
        yield False, f"$GEN_WEIGHTS is {named}, which is not a folder."
    if not found:
        yield False, NONE_FOUND


def disks() -> Iterator[Finding]:
    """Free room for results and for temporary files."""
    for title, folder in (("this folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        writable = os.access(folder, os.W_OK)
        yield free > LEAST_FREE and writable, f"{title}: {free:.1f} GB free{'' if writable else ', cannot be written'}"
