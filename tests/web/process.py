"""`gen app` as a process of its own, as an operator starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path


class Process:
    """A server on a free port. A context manager: it is killed at the end of the block if it still runs."""

    def __init__(self, results: Path, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-P", "-m", "gen.cli", "app", "--port", "0", "--results", str(results), *arguments]
        env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and k != "GEN_USERS"} | environment
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
        self.lines: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line)
            if "Press Ctrl-C" in line:
                self._ready.set()
        self._ready.set()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        assert self._ready.wait(120), self.lines
        found = re.search(r"http://\S+", "".join(self.lines))
        assert found, self.lines
        return found[0]

    def said(self) -> str:
        """All that it has printed, when it has ended."""
        self._reader.join(10)
        return "".join(self.lines)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
