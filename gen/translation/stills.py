"""Translate pictures: one pool decodes ahead, the main thread runs the network, another pool encodes behind."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

from gen.interrupts import interrupts_held
from gen.media.ahead import batches, map_ahead
from gen.media.folders import Job
from gen.media.images import Still, decode_still, encode_still, still_size
from gen.translation.lanes import map_in_lanes
from gen.translation.made_with import mark_of
from gen.translation.maps import colour_uncertainty, encode_uncertainty_raw, overlay_uncertainty
from gen.translation.network import Network, Translated
from gen.translation.outputs import entry_of
from gen.translation.report import Entry
from gen.translation.run import Results, reason

MAX_PIXELS_AHEAD = 100_000_000
"""Pixels of pictures that wait for the network, and as many that wait to be written. A larger one waits alone."""
LARGE = 25_000_000
"""Pixels of a picture that runs through the network alone, whatever the batch size."""


class Measured(NamedTuple):
    """A picture whose header has been read."""

    job: Job
    pixels: int


class Decoded(NamedTuple):
    """A picture on its way."""

    job: Job
    still: Still
    seconds: float
    """Spent on it so far: decoding, then its share of the network's time."""


class Made(NamedTuple):
    """A picture that the network has translated."""

    item: Decoded
    result: Translated
    runtime: str
    warnings: list[str]


def translate_stills(jobs: Iterable[Job], lanes: Sequence[Network], run: Results) -> None:
    """Translate these pictures, in bounded memory, as many at once as there are networks, which are all the same.

    What fails is reported, and the rest go on.
    """
    network = lanes[0]
    workers = network.settings.workers
    window = 2 * (workers + network.batch_size)
    max_pixels = network.settings.max_pixels
    measure, decode = partial(_measure, max_pixels=max_pixels), partial(_decode, max_pixels=max_pixels)
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
        measured = map_ahead(readers, measure, jobs, window)
        decoded = map_ahead(readers, decode, measured, window, lambda item: item.pixels, MAX_PIXELS_AHEAD)
        waiting: deque[tuple[Future[Entry], int]] = deque()
        try:
            ready = batches(_readable(decoded, run), network.batch_size, _batch_key)
            with closing(map_in_lanes(_translate_batch, ready, lanes)) as translated:
                for made in chain.from_iterable(translated):
                    if isinstance(made, Made):
                        with interrupts_held():
                            waiting.append((writers.submit(_write, made, network), made.result.rgb.size // 3))
                    else:
                        run.fail(*made, network.settings)
                    while waiting and (waiting[0][0].done() or _too_many(waiting, window)):
                        _finish_first(waiting, run)
            while waiting:
                _finish_first(waiting, run)
        finally:  # after Ctrl-C too, what is being written is finished and reported
            with interrupts_held():
                while waiting:
                    _finish_first(waiting, run)


def _finish_first(waiting: deque[tuple[Future[Entry], int]], run: Results) -> None:
    entry = waiting[0][0].result()
    with interrupts_held():  # what leaves `waiting` is in the report
        run.finish(entry)
        waiting.popleft()


def _too_many(waiting: Iterable[tuple[Future[Entry], int]], window: int) -> bool:
    """Whether the network has to wait for the writers."""
    pixels = [pixels for _, pixels in waiting]
    return len(pixels) > window or sum(pixels) > MAX_PIXELS_AHEAD


def _batch_key(item: Decoded) -> object:
    """What the pictures of a batch have in common: the size; large ones go alone."""
    shape = item.still.rgb.shape
    return shape if shape[0] * shape[1] < LARGE else item.job.source


def _measure(job: Job, max_pixels: int) -> Measured:
    height, width = still_size(job.source, max_pixels)
    return Measured(job, height * width)


def _decode(measured: Measured, max_pixels: int) -> Decoded | tuple[Job, Exception]:
    began = time.perf_counter()
    try:
        still = decode_still(measured.job.source, max_pixels)
        return Decoded(measured.job, still, time.perf_counter() - began)
    except Exception as error:  # whatever is wrong with this file, the rest go on
        return measured.job, error


def _readable(decoded: Iterable[Decoded | tuple[Job, Exception]], run: Results) -> Iterator[Decoded]:
    """The pictures that could be decoded; the others are reported."""
    for item in decoded:
        run.check_stop()
        if isinstance(item, Decoded):
            yield item
        else:
            run.fail(*item)


def _translate_batch(batch: Sequence[Decoded], network: Network) -> list[Made | tuple[Job, Exception]]:
    began = time.perf_counter()
    try:
        results = network([item.still.rgb for item in batch])
    except Exception as error:  # one by one they may pass, and the rest go on
        if len(batch) == 1:
            return [(batch[0].job, error)]
        return [made for item in batch for made in _translate_batch([item], network)]
    share = (time.perf_counter() - began) / len(batch)
    return [
        Made(item._replace(seconds=item.seconds + share), result, network.runtime, network.warnings)
        for item, result in zip(batch, results, strict=True)
    ]


def _write(made: Made, network: Network) -> Entry:
    """Encode all outputs of a picture. The translation comes last: when it exists, its side files do."""
    (job, still, seconds), (rgb, values, statistics), runtime, warnings = made
    settings = network.settings
    began = time.perf_counter()
    try:
        encode = partial(
            encode_still, quality=settings.quality, mark=mark_of(job, settings), strip_metadata=settings.strip_metadata
        )
        opaque = replace(still, alpha=None)
        if values is not None and settings.uncertainty == "map":
            encode(job.beside(".uncertainty", ".png"), Still(colour_uncertainty(values, network.scale)))
        elif values is not None and settings.uncertainty == "raw":
            encode_uncertainty_raw(job.beside(".uncertainty", ".png"), values, network.scale)
        elif values is not None and settings.uncertainty == "overlay":
            tinted = overlay_uncertainty(rgb, values, network.scale)
            encode(job.beside(".overlay"), replace(opaque, rgb=tinted))
        if settings.compare:
            encode(job.beside(".compare"), replace(opaque, rgb=network.side_by_side(still.rgb, rgb, values)))
        lost = encode(job.target, replace(still, rgb=rgb))
    except Exception as error:  # whatever is wrong with this file, the rest go on
        return entry_of(job, "failed", settings, error=reason(job, error))
    height, width = rgb.shape[:2]
    seconds += time.perf_counter() - began
    measured = {"seconds": seconds, "width": width, "height": height, "frames": 1, "runtime": runtime}
    measured |= statistics
    left_out = list(dict.fromkeys([*still.left_out, *lost]))
    return entry_of(job, "done", settings, **measured, left_out=left_out, warnings=[*still.warnings, *warnings])
