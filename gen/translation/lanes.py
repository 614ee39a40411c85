"""Several pictures through a network at once on a CPU, each with some of the cores.

The layers of a small frame keep one core busy and let the others wait: a second thread for the same frame gains half at
best, and loses where other programs use the cores too.
"""

import copy
import logging
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

import torch

from gen.media.ahead import map_ahead
from gen.translation.network import Network
from gen.translation.pipeline import TranslationPipeline
from gen.translation.runtimes.choice import runner_for

A = TypeVar("A")
B = TypeVar("B")

log = logging.getLogger(__name__)

MOST = 8
"""Lanes at most: each takes a copy of the weights, and memory for its frame."""
SMALL = 2**19
"""Pixels at which the network runs, up to which frames go side by side; a larger one keeps all cores busy."""


def lanes_for(network: Network, pictures: int) -> list[Network]:
    """Copies of the network that translate so many pictures side by side; itself alone where that gains nothing."""
    model, size = network.model, network.resolution
    small = size == "auto" or (size is not None and size[0] * size[1] <= SMALL)
    count = min(torch.get_num_threads(), pictures, MOST)
    if not isinstance(model, TranslationPipeline) or model.device.type != "cpu":
        return [network]
    if count < 2 or not small or network.settings.tile is not None or network.batch_size > 1:
        return [network]
    try:
        return [_copied(network, model, torch.get_num_threads() // count) for _ in range(count)]
    except Exception as error:  # a method of one's own may hold what cannot be copied
        log.debug("one picture at a time: %s", error)
        return [network]


@contextmanager
def leaving_a_core(network: Network) -> Generator[Network]:
    """The network with one thread less, for a clip: its decoder, optical flow and encoder keep about a core busy.

    Threads of one network wait for each other in a loop that keeps their cores busy: on two cores, a clip took as long
    with one thread as with two, and 60 % of the processor time.
    """
    model, threads = network.model, torch.get_num_threads()
    if not isinstance(model, TranslationPipeline) or model.device.type != "cpu" or threads < 2:
        yield network
        return
    torch.set_num_threads(threads - 1)
    try:
        yield network if network.runtime == "torch" else _copied(network, model, threads - 1)
    finally:
        torch.set_num_threads(threads)


def _copied(network: Network, model: TranslationPipeline, threads: int) -> Network:
    with model.lock:  # no clip's smoother is attached
        own = copy.deepcopy(model)
    other, direction = Network(own, network.settings), network.settings.direction
    other.runtime = network.runtime
    if network.runtime != "torch":
        own.runners[direction] = runner_for(own, direction, network.runtime, threads)
    return other


def map_in_lanes(
    work: Callable[[Sequence[A], Network], B], batches: Iterable[Sequence[A]], lanes: Sequence[Network]
) -> Generator[B]:
    """Like `map`, with one of the networks as a second argument of `work`; as many at once as there are networks."""
    if len(lanes) == 1:
        yield from (work(batch, lanes[0]) for batch in batches)
        return
    threads, free = torch.get_num_threads(), SimpleQueue[Network]()
    for network in lanes:
        free.put(network)

    def work_in_lane(batch: Sequence[A]) -> B:
        torch.set_num_threads(threads // len(lanes))  # of this thread, and of those that begin later
        network = free.get()
        try:
            return work(batch, network)
        finally:
            free.put(network)

    try:
        with ThreadPoolExecutor(len(lanes)) as pool:
            yield from map_ahead(pool, work_in_lane, batches, len(lanes) + 1)
    finally:
        torch.set_num_threads(threads)
