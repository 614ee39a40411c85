"""Too little memory: a smaller batch or strips instead of an error, and the report says so."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import street
from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, cases
from tests.faults.process import ForkServer

MORE = 600 << 20
"""Bytes beyond what the program maps before any work: less than whole frames of this size need."""


@pytest.mark.skipif(importlib.util.find_spec("gen.translation.memory") is None, reason="not in this version")
def test_too_little_memory_takes_smaller_pieces_and_says_so(inputs: Path, server: ForkServer, folder: Path) -> None:
    (folder / "in").mkdir()
    Image.fromarray(street(np.random.default_rng(0), 1080, 1920, True)).save(folder / "in" / "large.png")
    words = ["translate", folder / "in", folder / "out", "--model", inputs / "models" / "cut", "--resolution", "native"]
    done = server.run(*words, limits={"RLIMIT_AS": address_space(server) + MORE})
    assert "Traceback" not in done.errors, done.errors
    assert done.status in (0, 1), done.errors
    report = json.loads((folder / "out" / "report.json").read_text())
    (entry,) = report["files"]
    if done.status == 0:
        assert "memory" in json.dumps(entry) + done.output, "it does not say that it took smaller pieces"
    else:
        assert "memory" in entry["error"]
    COUNTS["runs with too little memory"] += 1


def address_space(server: ForkServer) -> int:
    """What the program maps before any work, in bytes."""
    done = server.run(function="tests.faults.test_memory:print_address_space")
    return int(done.output)


def print_address_space(words: list[str]) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    print(pages * 4096)


@pytest.mark.parametrize("case", cases("train-augan", "train-stylegan2"))
def test_training_with_too_little_memory_ends_in_a_sentence(
    case: Case, inputs: Path, server: ForkServer, folder: Path
) -> None:
    """It names a setting that gives the same result in less memory; the checkpoints stay."""
    words = [*case.words(inputs, folder / "out"), "--set=batch=64", "--set=images=640"]
    done = server.run(*words, limits={"RLIMIT_AS": address_space(server) + (300 << 20)})
    assert done.status == 1, done.errors
    assert "memory" in done.sentence
    COUNTS["runs with too little memory"] += 1
