"""Full disks, quotas and read-only folders: one sentence, nothing half-written, and the same command goes on."""

import random
import re
from pathlib import Path

import pytest

from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, LONG, Reference, cases, target
from tests.faults.disks import enlarge, read_only, small_disk
from tests.faults.process import ForkServer, Process
from tests.faults.whole import check_same, check_whole

FULL = r"disk is full|No space left|quota|larger than allowed|File too large"
READ_ONLY = r"read-only|Read-only|not writable|cannot be written"
LEAST = 4096
"""Bytes that the command's own messages may take, which a limit counts too."""
TRIES = 8 if LONG else 1


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def check_refusal(done: Process, pattern: str) -> None:
    """It failed with one sentence that says why; a folder tool may name each file that failed instead."""
    assert done.status == 1, (done.status, done.errors)
    assert "Traceback" not in done.errors, done.errors
    assert re.search(pattern, done.errors + done.output), done.errors
    if done.request.arguments[0] != "translate":
        assert re.search(pattern, done.sentence)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("case", cases())
def test_a_full_disk(case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path) -> None:
    unbroken = reference(case).out
    rng = random.Random(case.name)
    most = size_of(unbroken) + 4096 * sum(1 for _ in unbroken.rglob("*"))
    for number in range(TRIES):
        size = max(65536, int(most * rng.uniform(0.02, 0.95)))
        with small_disk(folder / f"disk-{number}", size) as disk:
            out = disk / "out"
            if case.name == "translate-clip":
                out.mkdir()
            words = case.words(inputs, target(case, out))
            done = server.run(*words, function=case.function)
            if done.status != 0:  # it may just have fitted
                check_refusal(done, FULL)
                COUNTS[f"full disks under {case.name}"] += 1
            check_whole(disk)
            enlarge(disk)
            again = server.run(*words, function=case.function)
            assert again.status == 0, again.errors
            check_same(out, unbroken, case.ignored)


@pytest.mark.parametrize("case", cases())
def test_a_quota(case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path) -> None:
    """`ulimit -f`: no file may grow beyond this size."""
    unbroken = reference(case).out
    largest = max(path.stat().st_size for path in unbroken.rglob("*") if path.is_file())
    for number, share in enumerate((0.1, 0.5, 0.9) if LONG else (0.5,)):
        out = folder / f"out-{number}"
        out.mkdir()
        words = case.words(inputs, target(case, out))
        limit = int(largest * share)
        if limit < LEAST:
            continue
        done = server.run(*words, function=case.function, limits={"RLIMIT_FSIZE": limit})
        check_refusal(done, FULL)
        check_whole(out)
        COUNTS[f"quotas under {case.name}"] += 1
        again = server.run(*words, function=case.function)
        assert again.status == 0, again.errors
        check_same(out, unbroken, case.ignored)


@pytest.mark.parametrize("case", cases())
def test_a_read_only_folder(case: Case, inputs: Path, server: ForkServer, folder: Path) -> None:
    (folder / "out").mkdir()
    with read_only(folder / "out") as out:
        for words in (case.words(inputs, target(case, out)), case.words(inputs, target(case, out / "new"))):
            check_refusal(server.run(*words, function=case.function), READ_ONLY)
            COUNTS["read-only folders"] += 1


@pytest.mark.parametrize("case", cases("train-augan", "train-cyclegan", "train-stylegan2", "train-smos", "adapt"))
def test_a_run_that_became_read_only_keeps_its_checkpoint(
    case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path
) -> None:
    unbroken = reference(case).out
    out = folder / "out"
    words = case.words(inputs, out)
    killed = server.run(*words, kill_at=int(0.7 * reference(case).changes))
    assert killed.status
    with read_only(out):
        check_refusal(server.run(*words), READ_ONLY)
    assert server.run(*words).status == 0
    check_same(out, unbroken, case.ignored)


@pytest.mark.parametrize("case", [c for c in cases() if c.values[0].room])  # pyright: ignore
def test_too_little_room_is_told_before_the_work(
    case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path
) -> None:
    with small_disk(folder / "disk", 200_000) as disk:
        done = server.run(*case.words(inputs, disk))
        check_refusal(done, "disk is full")
        assert not list(disk.rglob("metrics.jsonl")), "it had begun to train"
