"""The job that translates files with the engine of `gen translate`. The tabs Translate (clips) and Folder start it."""

import copy
import json
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from gen.errors import BadInput
from gen.media.files import writing
from gen.media.folders import plan_jobs
from gen.media.video import ClipLimits
from gen.translation.report import MAX_KINDS, REPORT, Report, dump
from gen.web.jobs import JobContext
from gen.web.messages import hide_folders
from gen.web.results import RESULTS, kept, pack
from gen.web.service import JobKind, Service
from gen.web.translation import Pipeline, Progress, TranslateSettings, Watch, translate

PREVIEW = "preview.jpg"
"""In the folder of a job: the latest frame of the clip that is being translated."""
PREVIEW_SECONDS = 2.0
PREVIEW_SIZE = (640, 640)
"""Most columns and rows of each of its two pictures."""


def run(service: Service, context: JobContext) -> None:
    """Inputs: source (a path), settings (of gen translate), perhaps renamed (sentences on uploads of equal names).

    Leaves output/ and results.zip, and says the sentences in the report and at the end.

    Raises `BadInput` if every file failed.
    """
    context.report(0, 0, "loading the model")
    inputs, out = context.job.inputs, context.folder / "output"
    limits = service.settings
    # Jobs of earlier versions name the device that the server had then.
    given = inputs["settings"] | {"device": service.device(), "max_megapixels": limits.megapixels}
    given["runtime"] = limits.runtime
    settings = TranslateSettings(input=Path(inputs["source"]), output=out, **given)
    hidden = [settings.input if settings.input.is_dir() else settings.input.parent, context.folder]
    total = 0

    preview = Preview(context.folder / PREVIEW)

    def tell(progress: Progress) -> None:
        _report(context, progress, total, hidden)
        preview.show(progress)

    clip_limits = ClipLimits(limits.pixels, limits.clip_frames, limits.clip_seconds)
    watch = Watch(tell, lambda: context.cancelled, clip_limits)
    began = time.monotonic()

    def load(chosen: TranslateSettings) -> Pipeline:
        nonlocal began
        pipe = service.translator(chosen.model)
        if limits.runtime != "torch" and pipe.device.type == "cpu":
            pipe = _own(pipe)
        began = time.monotonic()
        return pipe

    def keep() -> None:
        if (out / REPORT).exists():
            _edit_report(out / REPORT, hidden, inputs.get("renamed", []))
            pack(context.folder / RESULTS, out)

    with kept(context, keep):
        total = len(plan_jobs(settings.input, settings.output, settings.format))
        report = translate(settings, load, watch)
        done = sum(entry.frames or 0 for entry in report.entries if entry.status == "done")
        kind = "clip" if any(entry.kind == "clip" for entry in report.entries) else "still"
        service.pace.note(settings.model, settings.resolution, kind, done, time.monotonic() - began)
    _summarise(context, report, hidden)


def _own(pipe: Pipeline) -> Pipeline:
    """A copy, which may run in another runtime while visitors translate with the model in torch."""
    try:
        with pipe.lock:  # no clip's smoother is attached
            return copy.deepcopy(pipe)
    except Exception:  # a method of one's own may hold what cannot be copied
        return pipe


class Preview:
    """A picture of the clip that is being translated: its latest frame, and the translation on the right."""

    def __init__(self, path: Path) -> None:
        self.path, self._next = path, 0.0

    def show(self, progress: Progress) -> None:
        """Draw it anew, every `PREVIEW_SECONDS` at most."""
        if progress.frame is None or time.monotonic() < self._next:
            return
        pair = [Image.fromarray(pixels) for pixels in progress.frame]
        for picture in pair:
            picture.thumbnail(PREVIEW_SIZE)
        with suppress(OSError), writing(self.path) as partial:  # the translation is worth more
            Image.fromarray(np.hstack([np.asarray(picture) for picture in pair])).save(partial, "JPEG", quality=85)
        self._next = time.monotonic() + PREVIEW_SECONDS


def _edit_report(path: Path, hidden: list[Path], renamed: list[str]) -> None:
    """Hide the server's folders, and add what uploads were renamed to the warnings."""
    text = hide_folders(path.read_text("utf-8"), hidden)
    text = text.replace(f'"{hidden[0]}"', f'"{hidden[0].name}"')  # the input folder itself, in the settings
    if renamed:
        report = json.loads(text)
        text = dump(report | {"warnings": list(dict.fromkeys([*report["warnings"], *renamed]))}, indent=1)
    with writing(path) as partial:
        partial.write_text(text, "utf-8")


def _report(context: JobContext, progress: Progress, total: int, hidden: list[Path]) -> None:
    """Count frames for a single clip, files otherwise. `total`: files, those finished before a restart included."""
    latest = progress.latest
    if latest and latest.error:
        context.job.failures.append(hide_folders(latest.error, hidden))
    before = total - progress.of_files
    if context.job.begun < 0:
        context.report(before, total, unit="files")
    if total == 1 and progress.frames:
        context.report(progress.frames, progress.of_frames, unit="frames")
    elif total == 1 and latest and latest.kind == "clip" and latest.frames:
        # The container's frame count is an estimate; the finished clip knows the true one.
        context.report(latest.frames, latest.frames, unit="frames")
    else:
        note = f"frame {progress.frames} of a clip" if progress.frames else ""
        context.report(before + progress.files, total, note, unit="files")


def _summarise(context: JobContext, report: Report, hidden: list[Path]) -> None:
    failed = report.count("failed")
    if failed and failed == len(report.entries):
        problems = context.job.problems
        raise BadInput(problems[-1] if problems else "None of the files could be translated.")
    notes = [f"{count} {note}" for note, count in report.notes().items()]
    remarks = [hide_folders(line.rstrip("."), hidden) for line in report.remarks()]
    renamed = context.job.inputs.get("renamed", [])
    more = len(renamed) - MAX_KINDS
    listed = [*renamed[:MAX_KINDS], *([f"{more} more uploads were renamed, see the report"] if more > 0 else [])]
    made_up = [hide_folders(text, hidden)] if (text := report.invented()) else []
    context.job.note = "; ".join([*made_up, *notes, *([f"{failed} failed"] if failed else []), *remarks, *listed])


JOBS = {"translate": JobKind("device", run, (RESULTS, f"output/{REPORT}"))}
