"""Run one case under guard: nothing outside its folder is written, no program started, no host asked, little spent."""

import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen.errors import GenError

SECONDS = 5.0
"""Of the processor, for one case."""
MEGABYTES = 500
"""By which the peak of the process's memory may lie above that before the first case."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": [(0, 2)],
    "os.rename": [(0, 2), (1, 3)],
    "os.remove": [(0, 1)],
    "os.rmdir": [(0, 1)],
    "os.symlink": [(1, 2)],
    "os.link": [(1, 3)],
    "os.truncate": [(0, 9)],
    "os.chmod": [(0, 2)],
    "os.utime": [(0, 3)],
}
"""Audit events that change a path, with the arguments that hold the path and the descriptor of its folder."""
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "socket.getaddrinfo",
)

_folder: Path | None = None
"""The folder of the case that runs; None: no case runs, and everything is allowed."""
_offences: list[str] = []
_allowed: list[Path] = []


def allow(folder: Path) -> None:
    """Let all further cases write into this folder too."""
    _allowed.append(folder)


class Offence(AssertionError):
    """A case broke a rule."""


@dataclass(frozen=True)
class Target:
    """What is fed with cases."""

    cases: Any
    """A Hypothesis strategy."""
    check: Callable[[Any, Path], object]
    """Feeds one case; may use the folder, which is empty. Raises only `GenError`."""
    share: int
    """Of each 100 cases of a long run."""


def run_case(target: Target, case: Any) -> None:
    """Raises what is wrong: the exception that came out, or `Offence`."""
    global _folder
    _install()
    folder = Path(tempfile.mkdtemp(prefix="gen-fuzz-")).resolve()
    _offences.clear()
    began = time.process_time()
    try:
        _folder = folder
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.check(case, folder)
    except GenError as error:
        _check_message(error)
    finally:
        _folder = None
        shutil.rmtree(folder, ignore_errors=True)
    if _offences:
        raise Offence(_offences[0])
    if time.process_time() - began > SECONDS:
        raise Offence(f"took {time.process_time() - began:.1f} s")
    grown = (peak() - _before) / 1000
    if grown > MEGABYTES:
        raise Offence(f"the peak of memory is {grown:.0f} MB higher than at the start")


def _check_message(error: GenError) -> None:
    text = str(error)
    if not text or len(text) > 3000 or "Traceback" in text:
        raise Offence(f"a message of {len(text)} characters: {text[:200]}") from error


def peak() -> int:
    """Largest memory of the process so far, in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


_before = 0


def _install() -> None:
    """Once: an audit hook cannot be removed, so it asks whether a case runs."""
    global _before
    if not _before:
        sys.addaudithook(_audit)
        _before = peak()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _folder is None:
        return
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
        _must_be_inside(event, arguments[0])
    elif event in CHANGES:
        for index, folder in CHANGES[event]:
            _must_be_inside(event, arguments[index], arguments[folder] if folder < len(arguments) else -1)
    elif event in FORBIDDEN:
        _offences.append(f"{event} {arguments!r:.200}")


def _must_be_inside(event: str, path: Any, folder: int = -1) -> None:
    """`folder`: descriptor of the folder that a relative path starts from; -1: the current one."""
    if isinstance(path, int) or _folder is None:  # an open file
        return
    base = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else os.getcwd()
    found = Path(os.path.abspath(os.path.join(base, os.fsdecode(path))))
    inside = any(found.is_relative_to(folder) for folder in (_folder, *_allowed))
    if not inside and found != Path("/dev/null") and "__pycache__" not in found.parts:
        _offences.append(f"{event} {found}")
