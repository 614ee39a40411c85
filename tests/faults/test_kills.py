"""SIGKILL at any moment: nothing half-written counts as whole, nothing finished is lost, the same command goes on."""

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, KILLS, Reference, cases, long_only, target
from tests.faults.process import ForkServer, Process
from tests.faults.whole import check_same, check_whole, files


def finished(case: Case, out: Path) -> dict[str, int]:
    """Inode of the files that a second run must keep; it may still set their times, which come after the content."""
    kept = {n: p for n, p in files(out).items() if any(re.search(pattern, n) for pattern in case.resumes)}
    return {name: path.stat().st_ino for name, path in kept.items()}


def kill_in_time(server: ForkServer, words: list[str], case: Case, seconds: float) -> Process:
    """Kill it after so many seconds."""
    process = server.start(*words, function=case.function)
    if not process.ended(seconds):
        process.signal(signal.SIGKILL)
        process.wait()
    return process


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", cases())
def test_kills(case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path) -> None:
    """Half of the kills come at a random time, half just before a random change of the file system."""
    unbroken, seconds, changes = reference(case)
    rng = random.Random(case.name)
    for number in range(KILLS):
        out = folder / f"killed-{number}"
        out.mkdir()
        words = case.words(inputs, target(case, out))
        if number % 2:
            killed = server.run(*words, function=case.function, kill_at=rng.randint(1, changes))
        else:
            killed = kill_in_time(server, words, case, rng.uniform(0, seconds))
        assert killed.status in (0, -signal.SIGKILL), killed.errors
        COUNTS[f"kills of {case.name}" if killed.status else f"{case.name} had ended before the kill"] += 1
        check_whole(out)
        kept = finished(case, out)
        again = server.run(*words, function=case.function)
        assert again.status == 0, again.errors
        assert "Traceback" not in again.errors, again.errors
        assert finished(case, out).items() >= kept.items(), "a finished file was made again"
        check_same(out, unbroken, case.ignored)
        shutil.rmtree(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("case", cases("train-augan", "train-stylegan2", "adapt"))
def test_a_signal_ends_training_with_its_state_saved(
    case: Case, number: int, inputs: Path, server: ForkServer, reference: Reference, folder: Path
) -> None:
    reference(case)
    words = case.words(inputs, folder / "out")
    process = server.start(*words)
    while not (folder / "out" / "metrics.jsonl").exists() and process.status is None:
        assert not process.ended(0.01), process.errors
    process.signal(number)
    process.wait()
    assert process.status == 130, process.errors
    assert "run the same command to resume" in process.output
    assert "Traceback" not in process.errors
    check_whole(folder / "out")
    assert (folder / "out" / "checkpoints" / "latest.json").exists()
    assert server.run(*words).status == 0
    COUNTS[f"{signal.Signals(number).name} of {case.name}"] += 1


@long_only
@pytest.mark.parametrize("case", cases("train-augan"))
def test_the_second_signal_ends_training_at_once(case: Case, inputs: Path, server: ForkServer, folder: Path) -> None:
    words = [*case.words(inputs, folder / "out"), "--set=images=100000", "--set=checkpoint_every=100000"]
    process = server.start(*words)
    while not (folder / "out" / "metrics.jsonl").exists():
        assert not process.ended(0.01), process.errors
    process.signal(signal.SIGTERM)
    time.sleep(0.001)
    process.signal(signal.SIGTERM)
    process.wait()
    assert process.status == 130
    assert "Traceback" not in process.errors
    check_whole(folder / "out")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("case", cases("render-smd", "simulate-weather", "generate", "translate"))
def test_sigterm_leaves_no_temporary_file(
    case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path
) -> None:
    unbroken, seconds, _ = reference(case)
    process = server.start(*case.words(inputs, target(case, folder)))
    if not process.ended(seconds / 2):
        process.signal(signal.SIGTERM)
        process.wait()
    assert process.status in (0, 130), process.errors
    assert "Traceback" not in process.errors
    assert not list(folder.rglob("*partial*"))
    assert server.run(*case.words(inputs, target(case, folder))).status == 0
    check_same(folder, unbroken, case.ignored)
