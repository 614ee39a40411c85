"""Shared by the fault tests: the fork server, inputs, unbroken runs, and how thorough the tests are.

The short form belongs to the suite. GEN_FAULTS=long (`make test-faults`) kills each command 50 times and tries every
fault on every command; GEN_FAULTS_KILLS sets another number.
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.process import ForkServer

LONG = os.environ.get("GEN_FAULTS") == "long"
KILLS = int(os.environ.get("GEN_FAULTS_KILLS", 50 if LONG else 2))
COUNTS = Counter[str]()
"""What was tried, for the summary at the end of the test run."""


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """A folder in memory where there is one: the tests write and flush often."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="gen-faults-", dir=memory, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server(root: Path) -> Iterator[ForkServer]:
    server = ForkServer(root / "server")
    yield server
    server.close()


@pytest.fixture(scope="session")
def inputs(root: Path, server: ForkServer) -> Path:
    done = server.run(root / "inputs", function="tests.faults.cases:prepare")
    assert done.status == 0, done.errors
    return root / "inputs"


@pytest.fixture
def folder(root: Path) -> Iterator[Path]:
    """A new folder, removed at the end of the test."""
    folder = Path(tempfile.mkdtemp(dir=root))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def target(case: Case, folder: Path) -> Path:
    """Where the case writes: a file for a clip, else the folder itself."""
    return folder / "clip.mp4" if case.name == "translate-clip" else folder


class Unbroken(NamedTuple):
    """A run without any fault."""

    out: Path
    seconds: float
    changes: int
    """Changes of the file system that it makes."""


Reference = Callable[[Case], Unbroken]


@pytest.fixture(scope="session")
def reference(root: Path, inputs: Path, server: ForkServer) -> Reference:
    """Runs a case without any fault, once."""
    known: dict[str, Unbroken] = {}

    def run(case: Case) -> Unbroken:
        if case.name not in known:
            out = root / f"unbroken-{case.name}"
            out.mkdir()
            began = time.monotonic()
            done = server.run(*case.words(inputs, target(case, out)), function=case.function)
            assert done.status == 0, done.errors
            known[case.name] = Unbroken(out, time.monotonic() - began, done.changes)
        return known[case.name]

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist hands its counts over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The counts of a worker that has ended."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if COUNTS:
        terminalreporter.section("faults")
        for what, count in sorted(COUNTS.items()):
            terminalreporter.line(f"{count:6} {what}")


SHORT = ("translate", "train-augan", "render-smd")
"""Cases of the short form: a folder tool, a trainer and a renderer."""

long_only = pytest.mark.skipif(not LONG, reason="belongs to make test-faults")


def cases(*names: str) -> list[pytest.ParameterSet]:
    """The named cases, or all, as parameters; the short form has those of `SHORT` only."""
    chosen = [CASES[name] for name in (names or CASES) if LONG or name in SHORT]
    return [pytest.param(case, id=case.name) for case in chosen]
