"""Ctrl-C at any line of a run: what is there and called done in the report are the same files."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gen.media.ahead
import gen.translation.clips
import gen.translation.lanes
import gen.translation.leftovers
import gen.translation.record
import gen.translation.report
import gen.translation.run
import gen.translation.stills
from gen.cli import main
from gen.interrupts import interrupts_held
from tests.conftest import street
from tests.media.test_video import make_clip, moving_bars
from tests.translation.test_batch import files_below, model, report_of  # noqa: F401

LINES = {
    module.__file__
    for module in (
        gen.media.ahead,
        gen.translation.clips,
        gen.translation.lanes,
        gen.translation.leftovers,
        gen.translation.record,
        gen.translation.report,
        gen.translation.run,
        gen.translation.stills,
    )
}


@pytest.fixture(autouse=True)
def _listening():
    """A shell's background job is born deaf to Ctrl-C, and the tests may be such a job."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def interrupted_at(line: int, counted: list[int]):
    """Ctrl-C when so many lines of `LINES` have begun; `counted[0]` becomes how many there were."""

    def trace(frame, event, arg):
        if frame.f_code.co_filename not in LINES:
            return None
        if event == "line":
            counted[0] += 1
            if counted[0] == line:
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drive")
    for i in range(4):
        Image.fromarray(street(np.random.default_rng(i), 48, 64, True)).save(folder / f"{i}.png")
    make_clip(folder / "clip.mp4", moving_bars(3, 48, 64))
    return folder


@pytest.mark.parametrize("part", range(4))
def test_what_is_there_is_what_the_report_calls_done(part, drive, tmp_path, model):  # noqa: F811
    counted = [0]
    run = partial(main, ["translate", str(drive), str(tmp_path / "whole"), "--model", model])
    with interrupted_at(0, counted):
        assert run() == 0
    assert counted[0] > 500
    for line in np.random.default_rng(part).integers(1, counted[0], 8):
        out = tmp_path / str(line)
        with interrupted_at(line, [0]):
            status = main(["translate", str(drive), str(out), "--model", model])
        assert status in (0, 130), f"line {line}"
        there = {n for n in files_below(out) if not n.startswith(".")} - {"report.json"} if out.is_dir() else set()
        entries = report_of(out) if (out / "report.json").is_file() else {}
        done = {name for name, entry in entries.items() if entry["status"] == "done"}
        assert there == done, f"line {line} of {counted[0]}"
        assert main(["translate", str(drive), str(out), "--model", model]) == 0
        assert files_below(out) - {"report.json"} == files_below(tmp_path / "whole") - {"report.json"}


def hold(times: int, reached: list[str], blocks: int = 1) -> None:
    with interrupts_held():
        if blocks > 1:
            hold(times, reached, blocks - 1)
        else:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        reached.append("end")


@pytest.mark.parametrize(("times", "blocks", "ends"), [(1, 1, 1), (2, 1, 0), (1, 2, 2), (0, 2, 2)])
def test_the_first_waits_for_the_end_of_the_outermost_block_and_the_second_does_not(times, blocks, ends):
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt) if times else nullcontext():
        hold(times, reached, blocks)
    assert len(reached) == ends
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_holds_nothing():
    reached = []
    thread = threading.Thread(target=hold, args=(0, reached))
    thread.start()
    thread.join()
    assert reached == ["end"]


@pytest.mark.parametrize("gap", [0.05, 0.3])
def test_two_signals_end_the_process_as_one_does(gap, tmp_path, model):  # noqa: F811
    """The second must not kill threads that still compute: that ended the process by SIGABRT now and then."""
    for i in range(60):
        Image.fromarray(street(np.random.default_rng(i), 120, 200, True)).save(tmp_path / f"{i}.png")
    command = [sys.executable, "-m", "gen.cli", "translate", str(tmp_path), str(tmp_path / "out"), "--model", model]
    listening = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=listening
    ) as process:
        while not list((tmp_path / "out").glob("[0-9]*.png")) and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        time.sleep(gap)
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
