"""The files that a run leaves for each input, and whether an earlier run has left them already."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gen.errors import BadSetting
from gen.media.files import make_out_folder
from gen.media.folders import Job, check_not_inputs
from gen.translation.report import REPORT, Entry, Status
from gen.translation.settings import TranslateSettings, clip_options, parse_resolution


def report_path(settings: TranslateSettings) -> Path:
    """In the output folder, or beside a single output file."""
    out = settings.output
    single = settings.input.is_file() and out.suffix and not out.is_dir()
    return out.with_name(f"{out.stem}.{REPORT}") if single else out / REPORT


def outputs_of(job: Job, settings: TranslateSettings) -> list[Path]:
    """All files that the job leaves. It is finished only when all of them exist."""
    outputs = [job.target]
    if settings.uncertainty == "overlay":
        outputs.append(job.beside(".overlay"))
    elif settings.uncertainty != "none":
        clip_suffix = {"map": job.target.suffix, "raw": ".zip"}[settings.uncertainty]
        outputs.append(job.beside(".uncertainty", ".png" if job.kind == "still" else clip_suffix))
    if settings.compare:
        outputs.append(job.beside(".compare"))
    return outputs


def made_with(settings: TranslateSettings, kind: str) -> str:
    """What the translation of a file of this kind depends on."""
    return _made_with(settings, kind, f"resolution {_width_by_height(settings)}")


def _width_by_height(settings: TranslateSettings) -> str:
    size = parse_resolution(settings.resolution)
    return f"{size[1]} wide {size[0]} high" if isinstance(size, tuple) else settings.resolution


def _made_with_before(settings: TranslateSettings, kind: str) -> str:
    """As reports said it up to version 0.1, which wrote explicit sizes as HEIGHTxWIDTH."""
    size = parse_resolution(settings.resolution)
    return _made_with(
        settings, kind, f"resolution {'x'.join(map(str, size)) if isinstance(size, tuple) else settings.resolution}"
    )


def _made_with(settings: TranslateSettings, kind: str, resolution: str) -> str:
    which = "" if settings.which_map == "auto" else f", map {settings.which_map}"
    clip = f", smooth {settings.smooth:g}, steady {settings.steady:g}" if kind == "clip" else ""
    clip += clip_options(settings) if kind == "clip" else ""
    return f"{settings.model}, {settings.direction}, {resolution}{which}{clip}"


def entry_of(job: Job, status: Status, settings: TranslateSettings, **values: Any) -> Entry:
    """The job's entry in the report."""
    return Entry(str(job.source), str(job.target), job.kind, status, made_with(settings, job.kind), **values)


def finished_before(job: Job, settings: TranslateSettings, earlier: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether all outputs of the job exist. Raises `BadSetting` if they were made with another model or settings."""
    if settings.overwrite or not all(path.exists() for path in outputs_of(job, settings)):
        return False
    check_same(job, [made_with(settings, job.kind), _made_with_before(settings, job.kind)], earlier)
    return True


def check_same(job: Job, wanted: Sequence[str], earlier: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises `BadSetting` if an earlier report says that the output was made with none of `wanted`."""
    made = earlier.get(str(job.target), {}).get("made_with", wanted[0])
    if made not in wanted:
        raise BadSetting(
            f"{job.target} was made with {made}, not {wanted[0]}; choose another output folder, or set overwrite to "
            "translate it again."
        )


def prepare_outputs(jobs: Sequence[Job], settings: TranslateSettings) -> None:
    """Create the output folders.

    Raises `BadSetting` if one cannot be written, `BadInput` if an output would overwrite an input.
    """
    check_not_inputs(jobs, (path for job in jobs for path in outputs_of(job, settings)))
    for folder in sorted({job.target.parent for job in jobs}):
        make_out_folder(folder)
