"""`gen translate`: all files by one model, or with `--model auto` each by the one that was made for its weather."""

from collections.abc import Sequence

import tyro

from gen.augan import automatic, batch
from gen.augan.batch import Load, TranslateSettings, Watch, load_pipeline, report_path
from gen.augan.weathers import AUTO, at_hand
from gen.media.folders import Report

WORDS = {"done": "done", "skipped": "finished before", "left": "left as they are", "failed": "failed"}
"""What the last line calls each status; that none was left needs no word."""


def main(arguments: Sequence[str]) -> int:
    """The command: 0 all done, 1 some failed."""
    about = f"{TranslateSettings.__doc__}\n\n{at_hand()}"
    return run(tyro.cli(TranslateSettings, args=list(arguments), prog="gen translate", description=about))


def translate(settings: TranslateSettings, load: Load = load_pipeline, watch: Watch | None = None) -> Report:
    """Do all that is not done yet; see `batch.translate` and `automatic.translate`."""
    return (automatic if settings.model == AUTO else batch).translate(settings, load, watch)


def run(settings: TranslateSettings) -> int:
    """Translate and print what became of it: 0 all done, 1 some failed."""
    report = translate(settings)
    for entry in report.entries:
        if entry.flicker and entry.status == "done":
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in entry.flicker.items())
            print(f"{entry.output}: {entry.frames} frames, {numbers} grey levels")
    for note, count in report.notes().items():
        print(f"{count} {note}")
    counts = {status: report.count(status) for status in WORDS}
    told = [f"{count} {WORDS[status]}" for status, count in counts.items() if count or status != "left"]
    print(f"{', '.join(told)}; see {report_path(settings)}")
    return 1 if counts["failed"] else 0
