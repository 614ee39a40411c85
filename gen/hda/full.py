"""What `gen adapt --full` writes besides the adaptation: a model folder, and one file for other tools."""

import json
from pathlib import Path

from gen.errors import BadSetting
from gen.formats.json_files import json_if_whole
from gen.media.files import write_atomically

MODEL, FILE = "model", "model.pt"
RECORD = "full.json"
"""In the run directory: the fingerprints of these weights, by path. `gen adapt --full` wrote nothing else."""


def check_full(out: Path, source: str, full: bool) -> bool:
    """Whether to write both: with `full`, and also where an earlier run has written them for an older adaptation.

    Raises `BadSetting` if that would replace something that no run here has written, such as the source generator.
    """
    there = [path for path in (out / MODEL, out / FILE) if path.exists()]
    foreign = [path for path in there if not _written_here(out, path)]
    if full and foreign:
        told = "the source generator" if _same(foreign[0], source) else "not written by gen adapt --full"
        raise BadSetting(f"{foreign[0]} is {told}, and would be replaced; move it away or choose another --out.")
    return full or (bool(there) and not foreign)


def record_full(out: Path) -> None:
    """Note what was written."""
    found = {path.relative_to(out).as_posix(): _digest(path) for path in _files(out) if path.is_file()}
    with write_atomically(out / RECORD) as partial:
        partial.write_text(json.dumps(found, indent=1) + "\n")


def _files(out: Path) -> list[Path]:
    return [out / FILE, *sorted((out / MODEL).rglob("*.safetensors"))]


def _written_here(out: Path, path: Path) -> bool:
    known = json_if_whole(out / RECORD)
    files = [file for file in _files(out) if file.is_file() and (file == path or path in file.parents)]
    return bool(files) and all(known.get(file.relative_to(out).as_posix()) == _digest(file) for file in files)


def _digest(path: Path) -> str:
    from gen.provenance import fingerprint_file  # only now: it imports torch, for which usage errors must not wait

    return fingerprint_file(path)


def _same(path: Path, source: str) -> bool:
    return Path(source).exists() and path.resolve() == Path(source).resolve()
