"""Warn where a model for bad weather is given clear days: it invents what it has learnt, whatever it sees."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import cache

import torch

from gen.errors import GenError
from gen.media.folders import Job
from gen.media.images import Pixels, decode_still
from gen.translation.clips import open_clip
from gen.translation.protocol import Capabilities
from gen.translation.settings import Direction, TranslateSettings
from gen.translation.weather import CLEAR_DAY, WeatherClassifier
from gen.translation.weathers import any_of

log = logging.getLogger(__name__)

LOOKED_AT = 16
"""Files of a run that are looked at, spread evenly."""


def clear_days_among(jobs: Sequence[Job], able: Capabilities, settings: TranslateSettings) -> str | None:
    """A sentence if at least half of the files looked at show a clear day and the model is for other weather."""
    weathers = weathers_expected(able, settings.direction)
    looked_at = jobs[:: -(-len(jobs) // LOOKED_AT) or 1]
    if not weathers or not looked_at:
        return None
    seen: list[bool] = []
    for job in looked_at:
        with suppress(Exception):  # whatever is wrong with a file is told in its turn
            seen.append(is_clear_day(first_frame(job, settings)))
    if not sum(seen) * 2 >= len(seen) > 0:
        return None
    what = f"{sum(seen)} of {len(seen)} files that were looked at show" if len(seen) > 1 else f"{jobs[0].source} shows"
    return (
        f"{what} a clear day, but {settings.model} is for {any_of(weathers)}, and changes whatever it gets; "
        "model auto leaves clear days as they are."
    )


def weathers_expected(able: Capabilities, direction: Direction) -> tuple[str, ...]:
    """The weathers that a model takes frames of in this direction; () if it takes clear days, or does not say."""
    return able.weathers if direction == "adverse_to_normal" else ()


def is_clear_day(frame: Pixels) -> bool:
    """Whether a frame (H, W, 3) most probably shows a clear day; False in an installation without the classifier."""
    classifier = _classifier()
    if classifier is None:
        return False
    return classifier.name(classifier.predict(torch.from_numpy(frame)[None])[0])[0] == CLEAR_DAY


@cache
def _classifier() -> WeatherClassifier | None:
    try:
        return WeatherClassifier.from_pretrained()
    except GenError as error:
        log.debug("the weather of frames is not checked: %s", error)
        return None


def first_frame(job: Job, settings: TranslateSettings) -> Pixels:
    """A picture, or the first frame of the part of a clip that is translated. Raises `BadInput`."""
    if job.kind == "still":
        return decode_still(job.source, settings.max_pixels).rgb
    with open_clip(job.source, settings) as reader:
        return next(iter(reader)).rgb
