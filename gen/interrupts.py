"""Ctrl-C where it loses nothing."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Those that ask a command to stop."""


@contextmanager
def interrupts_held() -> Generator[None]:
    """Ctrl-C (SIGINT) or SIGTERM within the block takes effect at its end; a second one takes effect at once.

    Outside the main thread it does nothing: Python handles signals in the main thread only.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Any] = {}
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if held:
            handlers[number](number, frame)
        else:
            held.append((number, frame))

    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):  # not ignored, and not one that ends the process without Python
                handlers[number] = handler
                signal.signal(number, hold)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in held:
            handlers[number](number, frame)
