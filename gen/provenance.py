"""Records to reproduce a measurement: weights, versions, machine, settings."""

import dataclasses
import hashlib
import os
import platform
import subprocess  # nosec B404: git alone is run
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gen.about import VERSION

EARLIER = "earlier sittings"
"""Entry of a run's hardware: what it was trained on before, if that was another machine, torch or precision."""


def fingerprint(folder: Path, exclude: str | None = None) -> str:
    """First 16 hex digits of the SHA-256 of the weight files in `folder` and its sub-folders, in order of path.

    float16 variants (.fp16.) are skipped. `exclude`: name of a sub-folder to skip.
    """
    digest = hashlib.sha256()
    excluded = folder / exclude if exclude else None
    for path in sorted(p for p in folder.rglob("*.safetensors") if ".fp16." not in p.name and p.parent != excluded):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def fingerprint_file(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of a file."""
    return fingerprint_bytes(path.read_bytes())


def fingerprint_bytes(data: bytes) -> str:
    """First 16 hex digits of the SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()[:16]


def fingerprint_weights(state: Mapping[str, torch.Tensor], dtype: torch.dtype | None = None) -> str:
    """First 16 hex digits of the SHA-256 over all tensors of a state dict with their names, sorted by name.

    `dtype`: convert all tensors to it first, so that files of different precision agree; None: as they are.
    """
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", dtype or value.dtype).contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def portable(settings: Any) -> dict[str, Any]:
    """A dataclass of settings as JSON values; absolute paths become relative to the working directory."""
    return {field.name: portable_value(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def portable_value(value: Any) -> Any:
    """Make an absolute path relative to the working directory; return anything else unchanged."""
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):
        return Path(os.path.relpath(value)).as_posix()
    return value


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions by package name."""
    return {name: version(name) for name in packages}


def machine(device: torch.device) -> dict[str, str | int | None]:
    """The CPU model, number of cores, versions of torch and gen, and the GPU's name if `device` is one."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    versions = {"torch": str(torch.__version__), "gen": VERSION}
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "gpu": gpu, **versions}


def measured_on(device: torch.device) -> dict[str, str | int | None]:
    """`machine`, and the commit of gen if it runs in a checkout: what a table of measurements says of itself."""
    return machine(device) | ({"commit": found} if (found := commit()) else {})


@cache
def commit(root: Path = Path(__file__).parents[1]) -> str | None:
    """The commit of the checkout `root`, this code's, with "+" if gen/ differs from it; None without a checkout."""
    if not (root / ".git").exists():  # installed, perhaps below the checkout of another project
        return None
    try:
        found = _git(root, "rev-parse", "--short=7", "HEAD").stdout.strip()
        changed = _git(root, "diff", "--quiet", "HEAD", "--", "gen").returncode
    except (OSError, subprocess.SubprocessError):  # no git, or it takes too long
        return None
    return f"{found}{'+' if changed else ''}" if found else None


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(("git", "-C", str(root), *arguments), capture_output=True, text=True, timeout=10, check=False)


def after(before: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """The hardware of a run that was trained with `before` and then on `here`, with a text that names all before."""
    last = {name: value for name, value in before.items() if name != EARLIER}
    same = all(here.get(name) == value for name, value in last.items())
    text = ", ".join(f"{name}: {value}" for name, value in last.items() if value is not None)
    earlier = [before.get(EARLIER), None if same else text]
    return {**here, **({EARLIER: "; ".join(filter(None, earlier))} if any(earlier) else {})}


def hardware_sentence(hardware: Mapping[str, Any]) -> str:
    """What a run was trained on, for a model card."""
    device = hardware["gpu"] or f"{hardware['cpu']}, {hardware['cores']} cores"
    earlier = f" (in earlier sittings on {hardware[EARLIER]})" if EARLIER in hardware else ""
    ours = f", gen {hardware['gen']}" if "gen" in hardware else ""  # records of earlier versions lack it
    return f"{device}, torch {hardware['torch']}{ours}{earlier}"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
