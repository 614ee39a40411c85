"""A clock that jumps: speeds, remaining times, checkpoints and resumed runs do not depend on it."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cases import Case
from tests.faults.conftest import COUNTS, Reference, cases, long_only, target
from tests.faults.process import ForkServer
from tests.faults.whole import check_same

pytestmark = long_only  # a second server takes ten seconds to start


@pytest.fixture(scope="module")
def jumping(root: Path) -> Iterator[ForkServer]:
    """A server in which `time.time` jumps by an hour, back and forth, every 50 milliseconds."""
    site = str(Path(__file__).parent / "jumping_clock")
    server = ForkServer(root / "jumping", {"PYTHONPATH": os.pathsep.join([site, str(Path(__file__).parents[2])])})
    yield server
    server.close()


@pytest.mark.parametrize("case", cases("train-augan", "translate", "translate-clip", "render-smd", "adapt"))
def test_a_jumping_clock_changes_no_result(
    case: Case, inputs: Path, jumping: ForkServer, reference: Reference, folder: Path
) -> None:
    unbroken = reference(case).out
    done = jumping.run(*case.words(inputs, target(case, folder)))
    assert done.status == 0, done.errors
    check_same(folder, unbroken, case.ignored)
    for line in (json.loads(line) for path in folder.glob("metrics.jsonl") for line in path.read_text().splitlines()):
        assert 0 < line.get("images_per_second", 1) < 1e5
        assert line["seconds"] >= 0
    COUNTS["runs with a jumping clock"] += 1


@pytest.mark.parametrize("case", cases("train-augan", "translate", "render-smd"))
def test_progress_bars_show_no_nonsense(case: Case, inputs: Path, jumping: ForkServer, folder: Path) -> None:
    """On a terminal. An hour's jump would show as hours, or as a negative time."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows, columns: a bar needs them
    process = jumping.start(*case.words(inputs, target(case, folder)), errors_to=os.ttyname(theirs))
    shown = b""
    while not process.ended(0.01):
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 65536)
    while select.select([ours], [], [], 0.1)[0]:
        shown += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    assert process.status == 0, shown
    bars = re.findall(r"\[([^\]]*<[^\]]*)\]", shown.decode(errors="replace"))
    assert bars, shown[:2000]
    for bar in bars:
        assert not re.search(r"-\d|\d+:\d\d:\d\d", bar), bar
