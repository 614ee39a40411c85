"""A process that has imported everything and forks one child per request, so that a command starts in milliseconds.

Run as a script with the path of a Unix socket. A request is one line of JSON, see `process.Request`; the answers are
two lines, the process id of the child and, when it has ended, its exit status as `subprocess` counts it.
"""

import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

PRELOADED = (
    "gen.cli",
    "gen.augan.commands",
    "gen.augan.evaluation",
    "gen.augan.simulated.pairs",
    "gen.augan.training",
    "gen.cyclegan.method",
    "gen.hda.check",
    "gen.hda.drawing",
    "gen.hda.inverting",
    "gen.hda.export",
    "gen.hda.training",
    "gen.shift.survey",
    "gen.smd.rendering",
    "gen.smd.street.drives",
    "gen.smos.analysis",
    "gen.smos.commands",
    "gen.smos.table",
    "gen.stylegan2.rosinality",
    "gen.stylegan2.training",
    "gen.translation.automatic",
    "gen.translation.batch",
    "gen.translation.commands",
    "gen.translation.weather_training",
    "matplotlib.pyplot",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "torch.utils.tensorboard",
)
WRITING_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
"""Audit events of Python that change the file system; `open` for writing is the other one."""


def main(path: str) -> None:
    """Serve requests until the parent closes its end of stdin."""
    for module in (*PRELOADED, *filter(None, os.environ.get("GEN_FAULTS_PRELOAD", "").split(","))):
        importlib.import_module(module)
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    children: dict[int, socket.socket] = {}
    while True:
        for key, _ in selector.select(0.005):
            if key.fileobj is sys.stdin:
                os._exit(0)  # without waiting for threads that libraries have started
            connection, _ = server.accept()
            request = json.loads(connection.makefile().readline())
            pid = os.fork()
            if pid == 0:
                server.close()
                for other in children.values():
                    other.close()
                _run(request, connection)
            children[pid] = connection
            connection.sendall(f"{pid}\n".encode())
        _reap(children)


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if connection := children.pop(pid, None):
            with suppress(OSError):  # whoever asked may be gone
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            connection.close()


def _run(request: dict[str, Any], connection: socket.socket) -> None:
    """The child: set everything up as for a new process, run the function, and end."""
    connection.close()
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell ignores it
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for wanted, descriptor in enumerate((null, output, errors)):
        os.dup2(descriptor, wanted)
    # New streams: the old ones remember what kind of file the server's own were.
    sys.stdout = open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    for name, limit in request["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    changes = _count_changes(request["kill_at"])
    module, function = request["function"].split(":")
    code = 1
    try:
        code = int(getattr(importlib.import_module(module), function)(request["arguments"]) or 0)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            with open(request["output"] + ".changes", "w") as file:
                file.write(str(len(changes)))
        finally:
            os._exit(code)


def _count_changes(kill_at: int) -> list[str]:
    """Collect this process's changes of the file system; end it by SIGKILL just before number `kill_at`, if not 0."""
    changes: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in WRITING_EVENTS:
            changes.append(event)
            if len(changes) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    return changes


if __name__ == "__main__":
    main(sys.argv[1])
