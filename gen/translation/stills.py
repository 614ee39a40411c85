"""Translate pictures: one pool decodes ahead, the main thread runs the network, another pool encodes behind."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from gen.errors import BadInput
from gen.media.ahead import batches, map_ahead
from gen.media.folders import Job
from gen.media.images import Pixels, Still, decode_still, encode_still
from gen.translation.maps import colour_uncertainty, encode_uncertainty_raw, overlay_uncertainty
from gen.translation.outputs import entry_of
from gen.translation.report import Entry
from gen.translation.run import MapValues, Network, Run, reason


class Decoded(NamedTuple):
    """A picture on its way."""

    job: Job
    still: Still
    began: float
    """When its decoding began, in seconds of the performance counter."""


def translate_stills(jobs: Sequence[Job], network: Network, run: Run) -> None:
    """Translate these pictures, in bounded memory. What fails is reported, and the rest go on."""
    workers = network.settings.workers
    window = 2 * (workers + network.batch_size)
    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as writers:
        decoded = map_ahead(readers, _decode, jobs, window)
        entries: deque[Future[Entry]] = deque()
        try:
            for batch in batches(_readable(decoded, run), network.batch_size, lambda item: item.still.rgb.shape):
                entries.extend(_translate_batch(batch, network, run, writers))
                while len(entries) > window:
                    run.finish(entries.popleft().result())
        finally:  # after Ctrl-C too, what is being written is finished and reported
            for entry in entries:
                run.finish(entry.result())


def _decode(job: Job) -> Decoded | tuple[Job, Exception]:
    began = time.perf_counter()
    try:
        return Decoded(job, decode_still(job.source), began)
    except BadInput as error:
        return job, error


def _readable(decoded: Iterable[Decoded | tuple[Job, Exception]], run: Run) -> Iterator[Decoded]:
    """The pictures that could be decoded; the others are reported."""
    for item in decoded:
        if isinstance(item, Decoded):
            yield item
        else:
            run.fail(*item)


def _translate_batch(
    batch: Sequence[Decoded], network: Network, run: Run, writers: ThreadPoolExecutor
) -> list[Future[Entry]]:
    run.check_stop()
    try:
        results = network([item.still.rgb for item in batch])
    except Exception as error:  # one by one they may pass, and the rest go on
        if len(batch) == 1:
            run.fail(batch[0].job, error, network.settings)
            return []
        return [future for item in batch for future in _translate_batch([item], network, run, writers)]
    warnings = [network.warning] if network.warning else []
    return [
        writers.submit(_write, item, network, warnings, *result) for item, result in zip(batch, results, strict=True)
    ]


def _write(item: Decoded, network: Network, warnings: list[str], rgb: Pixels, values: MapValues) -> Entry:
    """Encode all outputs of a picture. The translation comes last: when it exists, its side files do."""
    job, still, settings = item.job, item.still, network.settings
    try:
        encode = partial(
            encode_still, quality=settings.quality, mark=network.mark, strip_metadata=settings.strip_metadata
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
        encode(job.target, replace(still, rgb=rgb))
    except Exception as error:  # whatever is wrong with this file, the rest go on
        return entry_of(job, "failed", settings, error=reason(job, error))
    height, width = rgb.shape[:2]
    seconds = time.perf_counter() - item.began
    measured = {"seconds": seconds, "width": width, "height": height, **network.statistics(values)}
    notes = {"left_out": list(still.left_out), "warnings": [*still.warnings, *warnings]}
    return entry_of(job, "done", settings, **measured, **notes)
