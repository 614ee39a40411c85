"""How many of the page's events run at a time.

The limits hold for the server, and not only for gradio's queue: /gradio_api/run/ENDPOINT goes around that. Waiting
events hold no thread, so that those of one lane never keep those of another waiting.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar, cast

from anyio import CapacityLimiter, to_thread

from gen.errors import BadSetting

Lane = Literal["device", "render", "files", "status"]
AT_ONCE: dict[Lane, int] = {"device": 1, "render": 1, "files": 2, "status": 8}
"""Events of each lane that run at a time. device: runs a network; render: keeps the processor busy; files: copies or
unpacks uploads; status: answers in milliseconds."""

T = TypeVar("T")


class Lanes:
    """One for a server; call it from the server's event loop."""

    def __init__(self, waiting: int) -> None:
        """`waiting`: most events that may wait in a lane."""
        self.waiting = waiting
        self._limiters = {lane: CapacityLimiter(count) for lane, count in AT_ONCE.items()}

    async def run(self, lane: Lane, function: Callable[[], T]) -> T:
        """Call `function` in a thread when it is its turn. Raises `BadSetting` if too many wait in the lane."""
        limiter = self._limiters[lane]
        if lane != "status" and limiter.statistics().tasks_waiting >= self.waiting:
            raise BadSetting(f"{self.waiting} requests are already waiting; try again later.")
        return await cast(Awaitable[T], to_thread.run_sync(function, limiter=limiter))
