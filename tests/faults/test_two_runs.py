"""Two runs in one output folder: the second is refused with a sentence and changes nothing, the first goes on."""

import signal
from pathlib import Path

import pytest

from gen.locks import LOCK
from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, Reference, cases, target
from tests.faults.process import ForkServer, wait_for
from tests.faults.whole import check_same

LOCKING = ("translate", "train-augan", "train-cyclegan", "train-stylegan2", "train-smos", "adapt", "render-smd",
           "render-street", "simulate-weather", "generate", "measure-shift")  # fmt: skip


@pytest.mark.parametrize("case", cases(*LOCKING))
def test_the_second_run_is_refused(
    case: Case, inputs: Path, server: ForkServer, reference: Reference, folder: Path
) -> None:
    unbroken = reference(case).out
    words = case.words(inputs, target(case, folder))
    first = server.start(*words)

    def stopped_with_the_lock() -> bool:
        """Stop it, so that it holds the lock for as long as the second one takes; it may only have tried the lock."""
        assert not first.ended(0.001), "it ended before it could be stopped"
        first.signal(signal.SIGSTOP)
        if (folder / LOCK).exists():
            return True
        first.signal(signal.SIGCONT)
        return False

    wait_for(stopped_with_the_lock)
    try:
        second = server.run(*words)
    finally:
        first.signal(signal.SIGCONT)
    assert second.status == 1, second.errors
    assert "another run is writing to this folder" in second.sentence
    assert first.wait().status == 0, first.errors
    check_same(folder, unbroken, case.ignored)
    COUNTS["second runs refused"] += 1
