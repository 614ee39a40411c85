"""A filter against flicker, on clips whose motion is known."""

import numpy as np
import pytest

from gen.media.motion import FlickerFilter, Image, MotionFinder
from tests.metrics.test_flicker import measure, panned, texture


def steadied(source: list[Image], output: list[Image], share: float = 0.5) -> list[Image]:
    finder, steadier = MotionFinder(), FlickerFilter(share)
    return [steadier.update(finder.update(before), after) for before, after in zip(source, output, strict=True)]


@pytest.mark.parametrize("pan", [0, 4])
def test_brightness_that_alternates_alternates_less(pan: int) -> None:
    frames = panned(8, pan)
    nervous = [(f // 2 + 40 + 10 * (i % 2)).astype(np.uint8) for i, f in enumerate(frames)]
    before, after = (measure(frames, clip)["output_warp_error"] for clip in (nervous, steadied(frames, nervous)))
    assert after < 0.5 * before


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_clip_that_nothing_was_done_to_stays_to_the_last_bit(share: float) -> None:
    frames = panned()
    for before, after in zip(frames, steadied(frames, frames, share), strict=True):
        np.testing.assert_array_equal(before, after)


def test_none_leaves_every_frame_as_it_is() -> None:
    frames = panned(3)
    output = [(f // 2 + 30 * i).astype(np.uint8) for i, f in enumerate(frames)]
    for before, after in zip(output, steadied(frames, output, share=0), strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_moving_change_stays_where_its_object_is() -> None:
    """A change that moves with the picture is steady already: nothing to take out of it, and no trail behind it."""
    frames = panned(8, 4)
    half = [(f // 2 + 60).astype(np.uint8) for f in frames]
    for before, after in zip(half, steadied(frames, half, share=0.9), strict=True):
        middle = (slice(8, -8), slice(8, -40))  # the right edge is new in every frame
        assert np.abs(before.astype(int) - after)[middle].mean() < 1.5


def test_behind_a_cut_nothing_of_the_scene_before_is_left() -> None:
    dark, bright = texture()[:160, :300] // 4, texture()[40:200, 100:400][::-1].copy()
    frames = [dark, dark, bright, bright]
    output = [255 - f for f in frames]
    after = steadied(frames, output, share=0.9)[2]
    assert np.abs(after.astype(int) - output[2]).mean() < 2


def test_the_output_may_be_larger_than_the_motion() -> None:
    frame = texture(540, 960)
    out = steadied([frame] * 3, [frame // 2, frame // 2 + 20, frame // 2])
    assert [o.shape for o in out] == [frame.shape] * 3
    assert np.abs(out[1].astype(int) - (frame // 2 + 10)).mean() < 1
