"""Too little memory: a smaller batch or strips instead of an error, and the report says so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY, street
from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, cases, long_only
from tests.faults.process import ForkServer

MORE = (1000, 600, 500, 450, 400, 300, 200)
"""MiB beyond what the program maps before any work."""


@long_only
@pytest.mark.timeout(3600)
def test_too_little_memory_takes_smaller_pieces_and_says_so(server: ForkServer, folder: Path) -> None:
    """Less and less memory: whole frames, then strips, then a failure that names the memory; never a crash."""
    (folder / "in").mkdir()
    Image.fromarray(street(np.random.default_rng(0), 540, 960, True)).save(folder / "in" / "large.png")
    model = REPOSITORY / "weights" / "augan-night2day"
    program = address_space(server)
    for more in MORE:
        out = folder / str(more)
        words = ["translate", folder / "in", out, "--model", model, "--resolution", "native", "--device", "cpu"]
        done = server.run(*words, limits={"RLIMIT_AS": program + (more << 20)})
        assert "Traceback" not in done.errors, done.errors
        assert done.status in (0, 1), done.errors
        if done.status == 0:
            assert (out / "large.png").exists()
        else:
            assert "there is too little memory for it, even frame by frame in strips" in done.errors, done.errors
            assert not (out / "large.png").exists()
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
    """It names a setting that gives the same result in less memory; the checkpoints stay.

    The batch asks for far more at once than there is: a limit that is reached in small steps hits the stack too.
    """
    words = [*case.words(inputs, folder / "out"), "--set=batch=1024", "--set=images=10240"]
    done = server.run(*words, limits={"RLIMIT_AS": address_space(server) + (300 << 20)})
    assert done.status == 1, done.errors
    assert "memory" in done.sentence
    COUNTS["runs with too little memory"] += 1
