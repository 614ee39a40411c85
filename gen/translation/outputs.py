"""The files that a run leaves for each input, and what they are made with."""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gen import weights
from gen.errors import BadInput
from gen.media.files import fit_name
from gen.media.folders import Job, check_not_inputs
from gen.media.mark import Mark, source_id
from gen.provenance import fingerprint
from gen.translation.report import REPORT, Entry, Status
from gen.translation.settings import TranslateSettings, parse_resolution


def report_path(settings: TranslateSettings) -> Path:
    """In the output folder, or beside a single output file."""
    out = settings.output
    return out.with_name(fit_name(out.stem, f".{REPORT}")) if is_single(settings) else out / REPORT


def is_single(settings: TranslateSettings) -> bool:
    """Whether the output is one file that the settings name."""
    out = settings.output
    return settings.input.is_file() and bool(out.suffix) and not out.is_dir()


def outputs_of(job: Job, settings: TranslateSettings) -> list[Path]:
    """All files that the job leaves, the translation first. It is finished only when all of them exist."""
    outputs = [job.target]
    if settings.uncertainty == "overlay":
        outputs.append(job.beside(".overlay"))
    elif settings.uncertainty != "none":
        clip_suffix = {"map": job.target.suffix, "raw": ".zip"}[settings.uncertainty]
        outputs.append(job.beside(".uncertainty", ".png" if job.kind == "still" else clip_suffix))
    if settings.compare:
        outputs.append(job.beside(".compare"))
    return outputs


def sides_of(settings: TranslateSettings) -> list[str]:
    """Kinds of the files beside the translation, as the report names them."""
    uncertainty = [] if settings.uncertainty == "none" else [settings.uncertainty]
    return [*uncertainty, *(["compare"] if settings.compare else [])]


def made_with(settings: TranslateSettings, kind: str) -> str:
    """What the translation of a file of this kind depends on."""
    more = ", bf16" if settings.precision == "bf16" else ""
    more += ", metadata removed" if settings.strip_metadata else ""
    digest = weights_id(settings.model)
    return _made_with(settings, kind, _width_by_height(settings)) + more + (f", weights {digest}" if digest else "")


def mark_of(job: Job, settings: TranslateSettings) -> str:
    """The mark for the metadata of the job's outputs. It names the model, but not the folder that it lies in."""
    made = made_with(settings, job.kind)
    text = f"{Path(settings.model).name}{made.removeprefix(settings.model)}"
    return Mark(text, source_id(job.stamp) if job.stamp else None).text()


def _width_by_height(settings: TranslateSettings) -> str:
    size = parse_resolution(settings.resolution)
    return f"{size[1]} wide {size[0]} high" if isinstance(size, tuple) else settings.resolution


def _height_by_width(settings: TranslateSettings) -> str:
    """As reports gave explicit sizes up to version 0.1."""
    size = parse_resolution(settings.resolution)
    return "x".join(map(str, size)) if isinstance(size, tuple) else settings.resolution


def _made_with(settings: TranslateSettings, kind: str, resolution: str) -> str:
    which = "" if settings.which_map == "auto" else f", map {settings.which_map}"
    clip = f", smooth {settings.smooth:g}, steady {settings.steady:g}" if kind == "clip" else ""
    return f"{settings.model}, {settings.direction}, resolution {resolution}{which}{clip}"


def weights_id(model: str) -> str | None:
    """Fingerprint of a model's weights, 16 hex digits; None for a hub id, and for a model that cannot be found."""
    try:
        folder = Path(weights.resolve(model))
    except BadInput:
        return None
    files = sorted(folder.rglob("*.safetensors")) if folder.is_dir() else []
    stats = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return _fingerprint(folder, stats) if stats else None


@functools.lru_cache(maxsize=16)
def _fingerprint(folder: Path, stats: object) -> str:
    """The fingerprint of a folder, read again only if `stats`, which names and dates its files, has changed."""
    return fingerprint(folder)


_PARTS = re.compile(
    r"(?P<model>.*), (?P<rest>(?:adverse_to_normal|normal_to_adverse)\b.*?)(?P<weights>, weights \w+)?", re.S
)


def same_made_with(recorded: str, settings: TranslateSettings, kind: str) -> bool:
    """Whether a report or a mark says that a file was made with what `settings` say.

    Models are compared by their weights. Reports of version 0.1 give no weights; there the models' names or folders
    must be the same, and the settings that such reports name.
    """
    found, wanted = _PARTS.fullmatch(recorded), _PARTS.fullmatch(made_with(settings, kind))
    if found is None or wanted is None:
        return False
    if found["weights"] is not None:
        return (found["rest"], found["weights"]) == (wanted["rest"], wanted["weights"])
    names = {_made_with(settings, kind, size(settings)) for size in (_width_by_height, _height_by_width)}
    rests = {wanted["rest"], *(name.removeprefix(f"{settings.model}, ") for name in names)}
    return found["rest"] in rests and _same_model(found["model"], settings.model)


def _same_model(one: str, other: str) -> bool:
    """Whether two names or folders lead to one model."""
    if one == other:
        return True
    try:
        return os.path.samefile(weights.resolve(one), weights.resolve(other))
    except (BadInput, OSError):
        return False


def entry_of(job: Job, status: Status, settings: TranslateSettings, **values: Any) -> Entry:
    """The job's entry in the report."""
    made = values.pop("made_with", None) or made_with(settings, job.kind)
    entry = Entry(str(job.source), str(job.target), job.kind, status, made, sides=sides_of(settings), **values)
    if job.stamp is not None:
        entry.input_bytes, entry.input_mtime_ns = job.stamp
    entry.input_sha256 = job.sha256
    return entry


def check_outputs(jobs: Sequence[Job], settings: TranslateSettings) -> None:
    """Raises `BadInput` if an output would overwrite an input."""
    check_not_inputs(jobs, (path for job in jobs for path in outputs_of(job, settings)))
