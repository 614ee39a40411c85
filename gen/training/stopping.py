"""Stop a run early without losing work."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from gen.interrupts import SIGNALS


@contextmanager
def on_stop_signals(stop: Callable[[], None]) -> Generator[None]:
    """Within the block, the first Ctrl-C (SIGINT) or SIGTERM calls `stop`; the second one interrupts at once.

    Outside the main thread, for example under Ray, signals are left to the program that owns the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows signal handlers in the main thread only
        return

    def handle(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.default_int_handler)
        stop()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
