"""Start commands in processes of their own, by the fork server, and wait for them or kill them."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SLOWEST = 240.0
"""Seconds after which a command counts as hanging, on a machine that other work keeps busy."""


@dataclass
class Request:
    """What the fork server is asked to run."""

    arguments: list[str]
    folder: str
    output: str
    errors: str
    function: str = "gen.cli:main"
    environment: dict[str, str] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    """Names of `resource` and their limits, for example RLIMIT_FSIZE."""
    kill_at: int = 0
    """End by SIGKILL before this change of the file system, counted from 1; 0: never."""


class Process:
    """A running command."""

    def __init__(self, request: Request, connection: socket.socket) -> None:
        self.request, self._lines = request, connection.makefile("r")
        self._connection = connection
        connection.settimeout(SLOWEST)
        self.pid = int(self._lines.readline())
        self.status: int | None = None

    def wait(self) -> "Process":
        """Wait for the end. Raises `AssertionError` for a process that hangs, after killing it."""
        try:
            self.status = int(self._lines.readline())
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"hangs: {self.request.arguments}\n{self.errors}") from None
        finally:
            self._lines.close()
            self._connection.close()
        return self

    def ended(self, within: float) -> bool:
        """Whether it ends within so many seconds."""
        self._connection.settimeout(within)
        try:
            line = self._lines.readline()
        except TimeoutError:
            return False
        finally:
            # A text file that has timed out refuses every later read.
            self._lines = self._connection.makefile("r")
            self._connection.settimeout(SLOWEST)
        self.status = int(line)
        return True

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.status is None:
            os.kill(self.pid, number)

    @property
    def changes(self) -> int:
        """How many changes of the file system it has made. Only for a process that has ended by itself."""
        return int(Path(self.request.output + ".changes").read_text())

    @property
    def output(self) -> str:
        """What it has printed."""
        return Path(self.request.output).read_text(errors="replace")

    @property
    def errors(self) -> str:
        """What it has printed to stderr."""
        return Path(self.request.errors).read_text(errors="replace")

    @property
    def sentence(self) -> str:
        """The error that ended the command: exactly one paragraph, that of `gen COMMAND: ...`, and no traceback."""
        assert "Traceback" not in self.errors, self.errors
        found = re.findall(rf"^gen {self.request.arguments[0]}: .*", self.errors, re.MULTILINE)
        assert len(found) == 1, self.errors
        return found[0]


class ForkServer:
    """Starts the server process; one is enough for all tests of a worker."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        """`environment`: more variables for the server itself, which are set before Python starts."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._count, self._ready = folder, 0, False
        self._socket = folder / "s"
        own = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "TQDM_MININTERVAL": "0", **(environment or {})}
        self._server = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).parent / "fork_server.py"), str(self._socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | own,
        )

    def wait_until_ready(self) -> None:
        """Wait until everything is imported; the first start does so."""
        if not self._ready:
            assert self._server.stdout is not None
            assert self._server.stdout.readline() == b"ready\n"
            self._ready = True

    def start(
        self, *arguments: object, folder: Path | None = None, errors_to: str | None = None, **more: object
    ) -> Process:
        """Start a command; `more`: fields of `Request`. `errors_to`: file for stderr, for example a terminal."""
        self.wait_until_ready()
        self._count += 1
        output, errors = (str(self.folder / f"{self._count}.{name}") for name in ("out", "err"))
        errors = errors_to or errors
        words = [str(argument) for argument in arguments]
        request = Request(words, str(folder or self.folder), output, errors, **more)  # pyright: ignore
        for path in (output, errors):
            Path(path).touch()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._socket))
        connection.sendall(json.dumps(asdict(request)).encode() + b"\n")
        return Process(request, connection)

    def run(self, *arguments: object, **more: object) -> Process:
        """Start a command and wait for its end."""
        return self.start(*arguments, **more).wait()  # pyright: ignore

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(10)


def wait_for(condition, seconds: float = SLOWEST) -> None:
    """Wait until `condition()` is true. Raises `AssertionError` if it does not become true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)
