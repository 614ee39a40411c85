"""What must be true of an output folder: every file is whole; and two folders hold the same results."""

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from gen.locks import LOCK
from gen.training.checkpoints import load_checkpoint
from gen.training.model_folder import TEMPORARY

PICTURES = (".jpg", ".png", ".webp")
CLIPS = (".mp4", ".mkv", ".mov")
CODING_NOISE = 1.0
"""Grey levels, a mean over all frames, by which two encodings of the same frames may differ."""
PASSING = re.compile(
    r"^out$|^cache$|second|time|hardware|machine|date|version|_per_|flicker_ms|began|created|started|ended|mtime"
)
"""Names of numbers that differ between two runs: how long they took, when, and where."""


def files(out: Path) -> dict[str, Path]:
    """The files of a folder by their path in it, without those that are hidden, event files and caches of pixels."""
    found = (p for p in sorted(out.rglob("*")) if p.is_file() and not p.is_symlink())
    names = {p.relative_to(out).as_posix(): p for p in found}
    return {n: p for n, p in names.items() if not re.search(r"(^|/)(\.|tensorboard/|cache/|ray/)", n)}


def left_overs(out: Path) -> list[str]:
    """Temporary files, locks and half models."""
    hidden = [p.relative_to(out).as_posix() for p in out.rglob(".*")]
    return [name for name in hidden if "partial" in name or name.endswith((LOCK, TEMPORARY))]


def content(path: Path) -> Any:
    """What a file says, for comparison. Raises whatever its reader raises for a file that is not whole."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        with Image.open(path) as image:
            return np.asarray(image)
    if suffix in CLIPS:
        with av.open(str(path)) as container:
            return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    if suffix == ".json":
        return without_passing(json.loads(path.read_text()))
    if suffix == ".jsonl":
        lines = path.read_text().splitlines()
        return [without_passing(json.loads(line)) for line in lines]
    if suffix == ".pt":
        return without_passing(load_checkpoint(path))
    if suffix == ".safetensors":
        return load_file(path)
    return path.read_bytes()


def without_passing(value: Any) -> Any:
    """JSON values without those that differ from run to run."""
    if isinstance(value, dict):
        return {k: without_passing(v) for k, v in value.items() if not PASSING.search(str(k))}
    return [without_passing(v) for v in value] if isinstance(value, list) else value


def check_whole(out: Path) -> None:
    """Every file under its final name can be read to its end. The last line of metrics may be half, see `RunLog`."""
    for name, path in files(out).items():
        try:
            if path.suffix == ".jsonl":
                for line in path.read_text().splitlines()[:-1]:
                    json.loads(line)
            else:
                content(path)
        except Exception as error:
            raise AssertionError(f"{name} ({path.stat().st_size} bytes) is not whole: {error!r}") from error


def check_same(out: Path, reference: Path, ignored: str = "^$") -> None:
    """Both folders hold the same files with the same content; `ignored`: pattern of names that may differ."""
    ours, theirs = ({n: p for n, p in files(f).items() if not re.search(ignored, n)} for f in (out, reference))
    assert ours.keys() == theirs.keys(), sorted(ours.keys() ^ theirs.keys())
    assert not left_overs(out), left_overs(out)
    for name, path in ours.items():
        difference = first_difference(content(path), _moved(content(theirs[name]), reference, out), name)
        assert difference is None, difference


def _moved(value: Any, old: Path, new: Path) -> Any:
    """The content with the paths that it would have in another folder."""
    if isinstance(value, str):
        return value.replace(str(old), str(new)).replace(old.name, new.name)
    if isinstance(value, bytes):
        return value.replace(str(old).encode(), str(new).encode()).replace(old.name.encode(), new.name.encode())
    if isinstance(value, dict):
        return {_moved(k, old, new): _moved(v, old, new) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_moved(v, old, new) for v in value)
    return value


def first_difference(a: Any, b: Any, name: str) -> str | None:
    """Where two contents differ, in words; None if they do not."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return f"{name}: keys {sorted(map(str, a.keys() ^ b.keys()))}"
        return next((d for k in a if (d := first_difference(a[k], b[k], f"{name}.{k}"))), None)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        if len(a) != len(b):
            return f"{name}: {len(a)} and {len(b)} items"
        pairs = enumerate(zip(a, b, strict=True))
        return next((d for i, (x, y) in pairs if (d := first_difference(x, y, f"{name}[{i}]"))), None)
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return None if torch.equal(a, b) else f"{name}: tensors differ"
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if name.endswith(CLIPS) and a.shape == b.shape:
            # x264 165 with AVX-512 reads memory that nobody has written, so two clips of the same frames may differ.
            same = np.abs(a.astype(int) - b).mean() < CODING_NOISE
        else:
            same = np.array_equal(a, b)
        return None if same else f"{name}: pictures differ"
    return None if a == b else f"{name}: {str(a)[:200]!r} and {str(b)[:200]!r}"
