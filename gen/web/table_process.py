"""`gen train-smos` for the page, as a process of its own: its runs end by processor time.

The server's processor time has the work of other visitors in it, so that runs would be unequally long. The process
stops as after Ctrl-C, and keeps what is done, when its standard input is closed: also when the server is killed.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from subprocess import PIPE, STDOUT, Popen
from typing import IO

from gen.errors import GenError
from gen.plugins import load_plugins
from gen.smos.commands import train_smos
from gen.training.command import STOPPED

ERROR, WARNING = "error: ", "warning: "
"""What the lines of the log begin with that visitors should read."""


def start(arguments: Sequence[str], log: IO[bytes]) -> "Popen[bytes]":
    """Start it with these arguments of `gen train-smos`; the end of a `with` block closes its input and waits for it.

    Its exit status is that of the command. `log`: for all that it prints.
    """
    # What the server can import, and not what lies in the folder that it was started in. In a session of its own,
    # because Ctrl-C in the server's terminal must reach it through the server, which then knows why it ended.
    return Popen(
        [sys.executable, "-P", "-m", __name__, *arguments],
        stdin=PIPE,
        stdout=log,
        stderr=STDOUT,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "PYTHONIOENCODING": "utf-8:backslashreplace",
        },
        start_new_session=True,
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command; 1 after an error, which is then in a line of the log."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter(f"{WARNING}%(message)s"))
    logging.getLogger("gen").addHandler(handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    try:
        load_plugins()
        return train_smos(arguments)
    except KeyboardInterrupt:
        return STOPPED
    except GenError as error:
        print(f"\n{ERROR}{' '.join(str(error).split())}", flush=True)
        return 1


def _stop_at_end_of_input() -> None:
    # Not sys.stdin: a thread that waits in it would keep Python from ending.
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
