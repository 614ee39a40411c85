"""The job that compares training methods with `gen train-smos`, each domain of a data set left out in turn."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gen.errors import BadInput, BadSetting
from gen.locks import check_free
from gen.smos.benchmarks import check_classes, find_benchmark
from gen.smos.methods import parse_method
from gen.smos.settings import SMOSSettings
from gen.training.command import STOPPED
from gen.training.logging import METRICS
from gen.web import table_process
from gen.web.jobs import JobContext, Stopped
from gen.web.service import JobKind, Service

PRESET = "cpu"
OUT = "output"
TABLE, GAIN = f"{OUT}/table.md", f"{OUT}/gain.png"
LOOK_SECONDS = 0.5
"""Time between two looks at how far the training has come."""
EARLIER_SECONDS = 300.0
"""How long the process of a server that was killed may take to save its run."""
STOPPING_SECONDS = 10.0
"""How long a server that stops may take to say so, after the system has told all its processes."""
SHORT = (
    "In {} of the runs there was time for so few measurements that SWAD could not choose: its result is the mean of "
    "almost all steps. Give the runs more processor time."
)
ENDED = "the training ended unexpectedly, perhaps for want of memory"


def runs_of(source: Path, out: Path, methods: Sequence[str], minutes: float, seeds: int) -> dict[str, str]:
    """The runs of a table: the folder of each in `out`, and what it is called.

    Raises `BadInput` or `BadSetting` as `gen train-smos` does, before anything is trained.
    """
    from gen.smos.table import plan, with_precursor  # imports torch

    check_classes(*find_benchmark(source))
    settings = SMOSSettings.from_preset(PRESET, data=source, out=out, core_minutes=minutes)
    rows = [with_precursor(parse_method(name), settings.backbone) for name in methods]
    return {cell.folder: cell.title for cell in plan(settings, rows, "all", range(seeds))}


def run(service: Service, context: JobContext) -> None:
    """Inputs: source (a data set's folder), methods, minutes, seeds, runs (as `runs_of` returns them).

    Leaves output/table.md of all runs that are done, and output/gain.png; of a cancelled or failed job too.
    """
    inputs, progress = context.job.inputs, Progress(context)
    _wait_for_earlier(context)
    progress.tell()
    log = context.folder / "log.txt"
    given = _arguments(inputs, context.folder / OUT, service.device())
    with log.open("ab") as file, table_process.start(given, file) as process:
        while process.poll() is None:
            if context.cancelled and process.stdin:
                process.stdin.close()
            progress.tell()
            time.sleep(LOOK_SECONDS)
    progress.tell()
    context.job.failures = [service.messages.plain(text) for text in _warnings(log)]
    if process.returncode == STOPPED:
        _wait_for_the_server(context)
        raise Stopped
    if process.returncode:
        raise BadInput((_said(log, table_process.ERROR) or [f"{ENDED} (exit status {process.returncode})."])[-1])
    context.job.note = ""


def _arguments(inputs: Mapping[str, Any], out: Path, device: str) -> list[str]:
    """The command line of `gen train-smos`, which continues a table that was begun."""
    words = ["--data", inputs["source"], "--out", str(out), "--preset", PRESET, "--seeds", f"0-{inputs['seeds'] - 1}"]
    words += ["--set", f"core_minutes={inputs['minutes']}", "--set", f"device={device}"]
    return words + [word for method in inputs["methods"] for word in ("--method", method)]


def _wait_for_earlier(context: JobContext) -> None:
    """Wait until the process of a server that was killed has saved its run."""
    end = time.monotonic() + EARLIER_SECONDS
    while (context.folder / OUT).is_dir() and time.monotonic() < end:
        context.stop_if_cancelled()
        try:
            return check_free(context.folder / OUT)
        except BadSetting:
            time.sleep(LOOK_SECONDS)


def _wait_for_the_server(context: JobContext) -> None:
    """A system that shuts down stops all processes at once; then the job must not count as cancelled."""
    end = time.monotonic() + STOPPING_SECONDS
    while not context.cancelled and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    if not context.cancelled:
        raise BadInput("the training was stopped from outside the page.")


def _said(log: Path, begin: str) -> list[str]:
    """The lines in the log of the process that begin with this, without it."""
    lines = log.read_text("utf-8", errors="replace").splitlines()
    return [line.removeprefix(begin) for line in lines if line.startswith(begin)]


def _warnings(log: Path) -> list[str]:
    """What the process warned of, each once; of SWAD in words that suit the page, which has no such settings."""
    said = _said(log, table_process.WARNING)
    short = [text for text in said if text.startswith("swad: ")]
    told = [SHORT.format(len(short))] if short else []
    return [*dict.fromkeys(text for text in said if text not in short), *told]


class Progress:
    """How far a job has come, read from the folders of its runs, and a picture of the run that is going on."""

    def __init__(self, context: JobContext) -> None:
        self.context, self.out = context, context.folder / OUT
        self.runs: dict[str, str] = context.job.inputs["runs"]
        self._drawn: Any = None

    def tell(self) -> None:
        """Report the runs that are done and how good the one that is going on is; draw its curve if it has grown."""
        from gen.smos.training import RESULTS  # imports torch

        left = [folder for folder in self.runs if not (self.out / folder / RESULTS).is_file()]
        note = "writing the table" if not left else self.runs[left[0]]
        if left:
            curves = self._curves(left[0])
            if points := curves[Path(left[0]).parent.name]:
                note += f", {points[-1][1]:.0%} right on held-out images"
            if points and curves != self._drawn:
                self._draw(curves, self.runs[left[0]])
        note = "stopping" if self.context.cancelled else note
        self.context.report(len(self.runs) - len(left), len(self.runs), note, unit="runs")

    def _curves(self, now: str) -> dict[str, list[tuple[float, float]]]:
        """The curve of the run in folder `now`, after those of earlier methods with the same domain and seed."""
        before = list(self.runs)[: list(self.runs).index(now)]
        alike = [folder for folder in before if Path(folder).name == Path(now).name]
        return {Path(folder).parent.name: read_curve(self.out / folder / METRICS) for folder in (*alike, now)}

    def _draw(self, curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> None:
        from gen.smos.plots import draw_curves

        # A new name each time, so that browsers fetch it; the one before may be on its way to one.
        path = self.context.folder / f"curve-{time.time_ns()}.png"
        with suppress(OSError):  # the table is worth more
            draw_curves(path, curves, title)
            self._drawn = curves
            for old in pictures(self.context.folder)[:-2]:
                old.unlink()


def read_curve(metrics: Path) -> list[tuple[float, float]]:
    """Images shown and accuracy (0..1) on held-out images, from the metrics of a run; without a line half written."""
    points: list[tuple[float, float]] = []
    with suppress(FileNotFoundError):
        for line in metrics.read_text("utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError):
                values = json.loads(line)
                points.append((values["images"], values["validation accuracy"]))
    return points


def pictures(folder: Path) -> list[Path]:
    """The pictures of curves in the folder of a job, the newest last."""
    return sorted(folder.glob("curve-*.png"))


JOBS = {"generalise": JobKind("generalise", run, (TABLE, GAIN))}
