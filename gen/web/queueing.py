"""Gradio's queue, with a limit for each kind of event in place of one for all together."""

from typing import Any

from gradio.queueing import Queue
from gradio.route_utils import get_fn

MAX_PENDING = 1000
"""Most events that may wait in all queues together."""


class LaneQueue(Queue):
    """Slow events that wait do not fill the queue for quick ones, such as /job."""

    def __init__(self, blocks: Any, waiting: int) -> None:
        """`waiting`: most events that may wait for one `concurrency_id`; those without a limit never wait."""
        super().__init__(
            live_updates=True,
            concurrency_count=blocks.max_threads,
            update_intervals=1,
            max_size=MAX_PENDING,
            blocks=blocks,
            default_concurrency_limit=4,
        )
        self.waiting = waiting

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Add an event, or say why not."""
        function = get_fn(self.blocks, None, body)
        queue = self.event_queue_per_concurrency_id.get(function.concurrency_id)
        if queue and queue.concurrency_limit is not None and len(queue.queue) >= self.waiting:
            return False, f"{self.waiting} requests are already waiting; try again later.", "queue_full"
        return await super().push(body, request, username)
