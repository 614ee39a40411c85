"""One run a folder: in this process, in another one, and after a kill."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from gen.errors import BadSetting
from gen.locks import LOCK, locked

HOLD = """
import os, sys, time
from pathlib import Path
from gen.locks import locked
with locked(Path(sys.argv[1])):
    if len(sys.argv) == 2 or os.fork() == 0:
        print("held", flush=True)  # after a fork the child says it: only then has it closed its copy of the lock
    time.sleep(30)
"""


def holder(folder, *more: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_lock_is_refused_and_a_released_one_leaves_no_file(tmp_path):
    with locked(tmp_path), pytest.raises(BadSetting, match=f"process {os.getpid()}"), locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())
    with locked(tmp_path):
        pass


def test_another_spelling_of_the_folder_is_the_same_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    with locked(tmp_path / "a"), pytest.raises(BadSetting), locked(tmp_path / "link"):
        pass


@pytest.mark.parametrize("more", [(), ("fork",)])
def test_another_process_is_named_and_a_killed_one_locks_nothing(tmp_path, more):
    process = holder(tmp_path, *more)
    with pytest.raises(BadSetting, match=rf"{tmp_path}: .*process {process.pid} "), locked(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def _count(folder, wins, overlaps) -> None:
    for _ in range(200):
        try:
            with locked(folder):
                wins.value += 1
                inside = folder / "inside"
                overlaps.value += inside.exists()
                inside.touch()
                time.sleep(0.0005)
                inside.unlink()
        except BadSetting:
            continue


def test_no_two_processes_are_ever_inside_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    wins, overlaps = context.Value("i", 0), context.Value("i", 0)
    processes = [context.Process(target=_count, args=(tmp_path, wins, overlaps)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert wins.value > 3
    assert overlaps.value == 0


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(BadSetting, match="cannot be written"), locked(tmp_path / "missing"):
        pass
