"""Prefetching: results are computed ahead in threads, in order and within a bounded window."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def map_ahead(
    pool: Executor,
    function: Callable[[A], B],
    items: Iterable[A],
    window: int,
    weigh: Callable[[A], float] = lambda item: 0,
    most: float = 0,
) -> Iterator[B]:
    """Like `map(function, items)`, but up to `window` calls run ahead of the consumer in `pool`.

    `weigh`: weight of an item, for example its size; items ahead weigh at most `most` together, or are a single one.
    """
    pending: deque[tuple[Future[B], float]] = deque()
    try:
        for item in items:
            weight = weigh(item)
            while pending and sum(w for _, w in pending) + weight > most:
                yield pending.popleft()[0].result()
            pending.append((pool.submit(function, item), weight))
            if len(pending) >= window:
                yield pending.popleft()[0].result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        for future, _ in pending:
            future.cancel()


def iterate_ahead(pool: Executor, items: Iterable[A], window: int) -> Iterator[A]:
    """Like `iter(items)`, but a thread of `pool` reads up to `window` items ahead of the consumer."""
    end = object()
    iterator = iter(items)
    pending: deque[Future[object]] = deque(pool.submit(next, iterator, end) for _ in range(window))
    try:
        while (item := pending.popleft().result()) is not end:
            pending.append(pool.submit(next, iterator, end))
            yield item  # pyright: ignore[reportReturnType]  # everything but `end` is an A
    finally:
        for future in pending:
            future.cancel()


def batches(items: Iterable[A], size: int, key: Callable[[A], object]) -> Iterator[Sequence[A]]:
    """Group consecutive items with equal keys into batches of at most `size`."""
    batch: list[A] = []
    for item in items:
        if batch and key(batch[0]) != key(item):
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:  # now, and not when the next item comes, which may be large and late
            yield batch
            batch = []
    if batch:
        yield batch
