"""The warp error on clips whose motion is known."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gen.media.motion import Motion, MotionFinder
from gen.metrics.flicker import FlickerMeter, e_warp, inside_motion

Image = NDArray[np.uint8]


def texture(height: int = 200, width: int = 400) -> Image:
    """Blobs of a few pixels over the whole range: something for the flow to hold on to."""
    grain = np.random.default_rng(0).normal(size=(height, width, 3))
    smooth = cv2.GaussianBlur(grain, (0, 0), 3.0)
    return (128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def panned(count: int = 4, step: int = 4) -> list[Image]:
    """A camera that turns: a 160x300 window that moves `step` pixels a frame over the texture."""
    whole = texture()
    return [np.ascontiguousarray(whole[20:180, 10 + i * step : 310 + i * step]) for i in range(count)]


def measure(source: list[Image], output: list[Image]) -> dict[str, float]:
    finder, meter = MotionFinder(), FlickerMeter()
    for before, after in zip(source, output, strict=True):
        meter.update(finder.update(before), after)
    return meter.result()


def test_e_warp_leaves_out_the_edges_of_motion() -> None:
    """Pixel by pixel, of a flow with a step: left half still, right half 6 pixels to the side."""
    rng = np.random.default_rng(1)
    previous, current = (rng.integers(0, 256, (12, 20, 3), np.uint8) for _ in range(2))
    flow = np.zeros((12, 20, 2), np.float32)
    flow[:, 10:, 0] = -6
    valid = rng.random((12, 20)) < 0.8
    squares: list[float] = []
    for y in range(12):
        for x in range(20):
            if valid[y, x] and x not in (9, 10):  # where the flow changes
                there = previous[y, x + int(flow[y, x, 0])]
                squares.append(float((((current[y, x].astype(float) - there) / 255) ** 2).sum()))
    motion = Motion(current, previous, flow, valid)
    assert e_warp(motion.change, inside_motion(motion)) == pytest.approx(np.mean(squares), rel=1e-5)


class TestFlickerMeter:
    def test_a_static_clip_has_none(self) -> None:
        frame = texture()
        for value in measure([frame] * 3, [255 - frame] * 3).values():
            assert value == pytest.approx(0, abs=1e-3)

    def test_motion_is_not_flicker(self) -> None:
        frames = panned()
        unwarped = np.abs(frames[1].astype(float) - frames[0]).mean()
        result = measure(frames, frames)
        assert result["source_warp_error"] < 0.1 * unwarped
        assert result["added_warp_error"] == 0

    @pytest.mark.parametrize("pan", [0, 4])
    def test_brightness_that_alternates_is_added_error(self, pan: int) -> None:
        frames = panned(step=pan)
        calm = [(f // 2 + 40).astype(np.uint8) for f in frames]
        nervous = [(f + 20 * (i % 2)).astype(np.uint8) for i, f in enumerate(calm)]
        assert measure(frames, calm)["added_warp_error"] <= 0
        assert measure(frames, nervous)["added_warp_error"] == pytest.approx(20, abs=2)
        assert measure(frames, nervous)["output_e_warp"] == pytest.approx(3 * (20 / 255) ** 2, rel=0.2)

    def test_what_was_hidden_is_left_out(self) -> None:
        """A plate that moves over the texture uncovers new ground, which the mask leaves out."""
        ground = texture(160, 300)
        frames = [ground.copy() for _ in range(3)]
        plate = texture()[:80, 320:400]
        for i, frame in enumerate(frames):
            frame[40:120, 60 + 8 * i : 140 + 8 * i] = plate
        unwarped = np.abs(frames[1].astype(float) - frames[0]).mean()
        assert measure(frames, frames)["source_warp_error"] < 0.2 * unwarped

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_clip_without_pairs_is_zero(self, count: int) -> None:
        frames = [texture()] * count
        assert set(measure(frames, frames).values()) == {0.0}

    @pytest.mark.parametrize("size", [(8, 8), (20, 500), (1080, 1920)])
    def test_any_size(self, size: tuple[int, int]) -> None:
        frame = texture(*size)
        assert all(np.isfinite(v) for v in measure([frame, frame], [frame, frame]).values())

    def test_the_size_must_not_change(self) -> None:
        with pytest.raises(ValueError, match="must have one size"):
            measure([texture(100, 200), texture(120, 200)], [texture(100, 200), texture(120, 200)])
